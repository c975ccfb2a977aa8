"""What all tests share: properties are tried on the same cases each time, however busy the machine."""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings

settings.register_profile("healthseg", derandomize=True, deadline=None)
settings.load_profile("healthseg")

# which files beside portfolios are trusted is the operator's own matter: here nobody's
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="healthseg-tests-")
