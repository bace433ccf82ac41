"""Pretraining: encoders learn from patches without labels. `METHODS` names the methods, a file each.

`run` holds the run: it makes a folder whose `model/` is a model without heads, from which any recipe can start. Only training
patches are learned from, labelled or not; validation patches are for monitoring, and test patches are never read.
"""

from eofuse.learning.pretraining.clusters import Clusters
from eofuse.learning.pretraining.cross_modal import CrossModal
from eofuse.learning.pretraining.inpainting import Inpainting
from eofuse.learning.pretraining.masked import Masked
from eofuse.learning.pretraining.options import MethodName, PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.simclr import SimCLR
from eofuse.learning.pretraining.vicreg import VICReg

__all__ = ["METHODS", "Method", "PretrainOptions", "PretrainingOptions"]

Method = type[SimCLR | VICReg | CrossModal | Masked | Clusters | Inpainting]

METHODS: dict[MethodName, Method] = {
    "simclr": SimCLR,
    "vicreg": VICReg,
    "cross_modal": CrossModal,
    "masked": Masked,
    "clusters": Clusters,
    "inpainting": Inpainting,
}
"""Every method by its name in recipes; each is an `Objective` made of (model, data, options)."""
