"""What all tests share: properties are judged by their outcome, not by the clock of a shared machine."""

from hypothesis import settings

settings.register_profile("edgeloop", deadline=None)
settings.register_profile("edgeloop-ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("edgeloop-ci" if settings.get_current_profile_name() == "ci" else "edgeloop")
