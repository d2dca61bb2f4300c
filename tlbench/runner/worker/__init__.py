"""The worker process, its children, and what is measured in them."""
