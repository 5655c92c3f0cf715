"""Model files that lie, and what becomes of the process that opens them."""
