"""Property tests of scoring: the first example of a process also imports, and machines differ; time is not judged."""

from hypothesis import settings

settings.register_profile("scoring", deadline=None, max_examples=100)
settings.load_profile("scoring")
