"""A study: its recipe, the jobs that it comes to, their runner, and the store of what came out."""
