"""What is read: files into rows, rows into features, features into batches; and what of it reached
a module."""
