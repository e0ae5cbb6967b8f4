"""`python -m tessflux` is the command tessflux."""

import sys

from tessflux.cli import main

if __name__ == "__main__":
    sys.exit(main())
