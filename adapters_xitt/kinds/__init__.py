"""The kinds of task: their heads and losses, and how what they say becomes predictions."""
