"""Programs that developers of this package run; none of them is installed."""
