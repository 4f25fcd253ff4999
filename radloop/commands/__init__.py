"""Commands that are more than a line or two each."""
