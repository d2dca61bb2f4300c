"""The leaderboard: its tables, pictures and pages, and the questions one asks of it."""
