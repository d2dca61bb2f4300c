"""Tasks: cards, the registry, grids, splits and episodes; how a file becomes arrays, and who is labelled."""
