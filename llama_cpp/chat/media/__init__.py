"""Images and sounds in messages."""
