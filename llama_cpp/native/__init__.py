"""The only code that knows where the native libraries are and what their functions look like."""
