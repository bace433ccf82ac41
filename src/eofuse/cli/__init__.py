"""The command line: words only. It parses, calls and prints; heavy imports wait until a command needs them."""

import sys
from collections.abc import Sequence

from eofuse.cli.parser import make_parser
from eofuse.errors import EofuseError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, 1 for bad data or 2 for misuse."""
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(arguments, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # key=value words after an option
        arguments.overrides += rest
    try:
        status: int = arguments.command(arguments)
    except EofuseError as error:
        print(f"eofuse: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("eofuse: interrupted; what is done is kept, run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return status
