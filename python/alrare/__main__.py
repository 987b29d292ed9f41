"""`python -m alrare` is the same as `alrare`."""

import sys

from .cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
