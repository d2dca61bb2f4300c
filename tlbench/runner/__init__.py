"""Running: from a request to a plan, to cells in workers, to rows."""
