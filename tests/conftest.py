"""Property tests run the same examples everywhere, and no slow machine fails one."""

from hypothesis import settings

settings.register_profile("kvcalc", deadline=None, derandomize=True)
settings.load_profile("kvcalc")
