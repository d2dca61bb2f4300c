"""Submitting a method's rows, and verifying what was submitted."""
