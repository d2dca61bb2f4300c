"""The sandbox of a method's process: what it may open, and what it may call."""
