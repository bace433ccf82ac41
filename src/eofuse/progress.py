"""How far some work is: `Progress`, the one signature by which everything that takes long reports."""

from typing import Protocol


class Progress(Protocol):
    """Receives how much of some work is done."""

    def __call__(self, done: int, total: int, words: str = "", /) -> None:
        """Takes what is done of a total (patches, files, bytes, steps) and, from some functions, what is being done."""
        ...
