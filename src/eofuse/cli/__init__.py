"""The command line: words only. It parses, calls and prints; heavy imports wait until a command needs them."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from eofuse import ranks
from eofuse.cli.output import say
from eofuse.cli.parser import make_parser
from eofuse.errors import DataError, explain


class Terminated(KeyboardInterrupt):
    """The system asked this process to end."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns 0, 1 for bad data, 2 for misuse, or 128 and the number of the signal that ended it."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # terminals that lack a character
    came: list[int] = []
    try:
        with _signals(came):
            return _run(argv)
    except (Exception, KeyboardInterrupt) as error:
        if number := _signal_behind(error) or (came[-1] if came else 0):  # C code may put its own error in its place
            word = "interrupted" if number == signal.SIGINT else "ended by the system"
            say(f"{word}; what is done is kept, run the same command again to go on")
            return 128 + number
        if os.environ.get("EOFUSE_TRACEBACK"):
            raise
        found = explain(error)
        say(str(found))
        return found.exit_code


def _signal_behind(error: BaseException | None) -> int:
    """The signal that ended a command, by its own error or by one that came while Python cleaned up; 0 if there was none."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return int(error.args[0] if isinstance(error, Terminated) else signal.SIGINT)
        error = error.__context__
    return 0


def _run(argv: Sequence[str] | None) -> int:
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(arguments, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:  # key=value words after an option
        arguments.overrides += rest
    try:
        with _quietly(arguments.quiet or not ranks.speaks()), _verbosely(arguments.verbose):
            status: int = arguments.command(arguments) or 0
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


@contextmanager
def _quietly(quiet: bool) -> Iterator[None]:
    """Shows no progress."""
    if not quiet:
        yield
        return
    from eofuse.terminal import without_progress

    with without_progress():
        yield


@contextmanager
def _verbosely(verbose: bool) -> Iterator[None]:
    """Shows what the command took, and where an error comes from."""
    began = time.monotonic()
    try:
        yield
    except Exception:
        if verbose:
            for line in traceback.format_exc().splitlines():
                say(line)
        raise
    if verbose:
        say(f"took {time.monotonic() - began:.1f} s{_most_memory()}")


def _most_memory() -> str:
    """The most memory that this process held at a time, in words; nothing where the system does not count it."""
    if find_spec("resource") is None:
        return ""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return f", {most / (1e6 if sys.platform == 'darwin' else 1e3):,.0f} MB of memory at most"


def _open_streams() -> None:
    """Gives this process an output and an error stream where it began without, as after `>&-`."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115, open to the end


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
def _signals(came: list[int]) -> Iterator[None]:
    """Turns signals that end a process into `Terminated` or KeyboardInterrupt, so that it cleans up; `nohup` stays what it is.

    A signal that arrives where Python can raise nothing, in the end of an object, is sent once more.

    Args:
        came: gets the numbers of signals.
    """
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    ends = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) in ends}

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    for number in before:
        signal.signal(number, end)
    report = sys.unraisablehook

    def send_again(lost: "sys.UnraisableHookArgs") -> None:
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            report(lost)
            return
        left, number = threading.Event(), _signal_behind(lost.exc_value)

        def again() -> None:
            left.wait()  # raised in here, it would be lost once more
            time.sleep(0.01)
            os.kill(os.getpid(), number)

        threading.Thread(target=again, daemon=True).start()
        left.set()

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)
