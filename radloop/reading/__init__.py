"""What people do with image sets: find the next one, say what they see, and what a model says beside them."""
