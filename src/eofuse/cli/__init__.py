"""The command line: words only. It parses, calls and prints; heavy imports wait until a command needs them."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from eofuse.cli.output import say
from eofuse.cli.parser import make_parser
from eofuse.errors import DataError, explain


class Terminated(KeyboardInterrupt):
    """The system asked this process to end."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, 1 for bad data, 2 for misuse, or 128 and the number of the signal that ended it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # terminals that lack a character
    try:
        with _signals():
            return _run(argv)
    except KeyboardInterrupt as error:
        number = error.args[0] if isinstance(error, Terminated) else signal.SIGINT
        word = "interrupted" if number == signal.SIGINT else "ended by the system"
        say(f"{word}; what is done is kept, run the same command again to go on")
        return 128 + int(number)
    except Exception as error:
        if os.environ.get("EOFUSE_TRACEBACK"):
            raise
        found = explain(error)
        say(str(found))
        return found.exit_code


def _run(argv: Sequence[str] | None) -> int:
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(arguments, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # key=value words after an option
        arguments.overrides += rest
    try:
        status: int = arguments.command(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # who read the output has seen enough
        _drop_output()
        return 1
    except OSError as error:
        if error.filename is None and not _output_works():
            _drop_output()
            raise DataError(f"can't be written: {explain(error).what}", where="the output") from None
        raise
    return status


def _output_works() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _drop_output() -> None:
    """Lets Python end without trying once more to write what nobody takes."""
    with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def _signals() -> Iterator[None]:
    """Turns signals that end a process into `Terminated`, so that it cleans up; `nohup` stays what it is."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)
