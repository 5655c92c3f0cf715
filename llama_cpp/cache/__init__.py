"""States of a model, kept: in memory, on disk, and found again by the tokens that led there."""
