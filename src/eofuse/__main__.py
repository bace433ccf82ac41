"""`python -m eofuse` is `eofuse`."""

from eofuse.cli import __main__  # noqa: F401, which ends with the command's exit code
