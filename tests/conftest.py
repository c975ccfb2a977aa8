"""What all tests share: properties are tried on the same cases each time, however busy the machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("healthseg", derandomize=True, deadline=None)
settings.load_profile("healthseg")
