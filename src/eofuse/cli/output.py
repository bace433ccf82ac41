"""Lines of the command line on the terminal, whatever names stand in them."""

import sys
from contextlib import suppress

from eofuse.words import printable


def show(text: object) -> None:
    """Prints a result; control characters are written out."""
    print(printable(str(text)))


def say(words: str) -> None:
    """Prints a last line on the error stream, where that can be done."""
    with suppress(OSError, ValueError):
        line = printable(words).replace("\n", "\\n")
        print(f"eofuse: {line}", file=sys.stderr, flush=True)
