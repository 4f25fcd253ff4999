"""What holds for all tests."""

from hypothesis import settings

settings.register_profile("house", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("house")
