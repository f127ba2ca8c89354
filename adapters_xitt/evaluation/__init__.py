"""What compositions predict for a test, how tasks are read and scored, and the best possible."""
