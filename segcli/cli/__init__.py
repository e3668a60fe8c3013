"""Command line: what the user types and reads."""
