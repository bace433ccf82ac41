"""Splits into parts (`protocols`), the ground that patches cover and share, what identifies a patch, and subsets of labels."""

from eofuse.data.splits.protocols import BLOCK_KM as BLOCK_KM
from eofuse.data.splits.protocols import Leakage as Leakage
from eofuse.data.splits.protocols import Protocol as Protocol
from eofuse.data.splits.protocols import Split as Split
from eofuse.data.splits.protocols import SplitOptions as SplitOptions
from eofuse.data.splits.protocols import buffer_words as buffer_words
from eofuse.data.splits.protocols import leakage as leakage
from eofuse.data.splits.protocols import make_split as make_split
from eofuse.data.splits.protocols import spatial_blocks as spatial_blocks
from eofuse.data.store.index import PARTS as PARTS
