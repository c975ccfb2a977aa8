"""``python -m healthseg``: the command line."""

import sys

from healthseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
