"""Splits into parts (`protocols`), the ground that patches cover and share, what identifies a patch, and subsets of labels."""

from eofuse.data.splits.protocols import (
    BLOCK_KM,
    Leakage,
    Protocol,
    Split,
    SplitOptions,
    buffer_words,
    leakage,
    make_split,
    spatial_blocks,
)
from eofuse.data.store.index import PARTS

__all__ = [
    "BLOCK_KM",
    "PARTS",
    "Leakage",
    "Protocol",
    "Split",
    "SplitOptions",
    "buffer_words",
    "leakage",
    "make_split",
    "spatial_blocks",
]
