"""A model version at work."""
