"""Model selection: criteria, search spaces and trials."""
