"""``python -m healthseg``: the command line."""

import sys

from healthseg.cli.main import main

sys.exit(main())
