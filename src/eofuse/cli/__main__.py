"""`python -m eofuse.cli` is `eofuse`."""

import sys

from eofuse.cli import main

sys.exit(main())
