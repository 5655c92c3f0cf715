"""A model with all that works on it, put together: imported when one is opened."""
