"""What a composition says of a test, and how well it could at most."""
