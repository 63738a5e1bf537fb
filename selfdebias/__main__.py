"""`python -m selfdebias`: the command line."""

import sys

from selfdebias.main import main

if __name__ == "__main__":
    sys.exit(main())
