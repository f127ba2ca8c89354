"""Modules given to others and taken from them: cards, bundles, other libraries' folders."""
