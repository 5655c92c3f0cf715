"""What replies mean: from Python types to JSON schemas, and from JSON back to objects."""
