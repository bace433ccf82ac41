"""`python -m eofuse`, as the command `eofuse`."""

import sys

from eofuse.cli import main

if __name__ == "__main__":
    sys.exit(main())
