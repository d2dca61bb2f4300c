"""Results: rows, the store, editions, statistics and ranks."""
