"""The one training loop, what it reads step by step, and the memory it takes."""
