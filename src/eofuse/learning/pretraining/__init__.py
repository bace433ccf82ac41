"""Pretraining: encoders learn from patches without labels. `METHODS` names the methods, a file each.

`run` holds the run: it makes a folder whose `model/` is a model without heads, from which any recipe can start. Only training
patches are learned from, labelled or not; validation patches are for monitoring, and test patches are never read.
"""

from eofuse.learning.pretraining.base import Method
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions, PretrainOptions

__all__ = ["METHODS", "Method", "PretrainOptions", "PretrainingOptions"]
