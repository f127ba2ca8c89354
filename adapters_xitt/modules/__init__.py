"""Modules as values: methods, expressions over them, merges, and the files they are kept in."""
