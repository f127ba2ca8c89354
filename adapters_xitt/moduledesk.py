"""What the commands for single modules do: look at one, take one in, give one out."""
