"""healthseg: the health of B2B subscription customers.

>>> import healthseg as hs
>>> "Portfolio" in dir(hs)
True

The public names are listed in ``__init__.pyi``. A name is loaded from its module when it is first
used, so that ``import healthseg`` loads none of the libraries.
"""

from __future__ import annotations

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
