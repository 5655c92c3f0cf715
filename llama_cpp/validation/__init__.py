"""Checks of arguments: what has to hold before native code sees them, in one place."""
