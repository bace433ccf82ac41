"""eofuse: data-efficient, multimodal deep learning for Earth observation.

The public names load what they need when they are first used: `import eofuse` imports no torch.

===============  =====================================================================
`simulate`       writes a simulated ben-ge folder
`download`       fetches a published dataset
`pack`           folder → packed store
`cut`            scenes → packed store of patches
`open_store`     opens a packed store
`describe_store`  counts, statistics, classes, leakage of a store
`show_patch`     a picture of all modalities of a patch
`train`          one recipe → run
`pretrain`       one recipe → encoders trained without labels
`resume`         goes on with an interrupted run
`evaluate`       scores of a run with intervals
`predict_store`  a trained model → predictions for every patch of a store
`study`          variants × seeds → leaderboard and report
`open_study`     a finished study
===============  =====================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from eofuse.data.cut import cut as cut
    from eofuse.data.describe import describe_store as describe_store
    from eofuse.data.download import download as download
    from eofuse.data.pack import pack as pack
    from eofuse.data.simulate import simulate as simulate
    from eofuse.data.store import open_store as open_store
    from eofuse.inference.predict import predict_store as predict_store
    from eofuse.learning.evaluate import evaluate as evaluate
    from eofuse.recipe import open_study as open_study
    from eofuse.recipe import pretrain as pretrain
    from eofuse.recipe import resume as resume
    from eofuse.recipe import study as study
    from eofuse.recipe import train as train
    from eofuse.reports.figures.patch import show_patch as show_patch

_ROOMS = {
    "cut": "eofuse.data.cut",
    "describe_store": "eofuse.data.describe",
    "download": "eofuse.data.download",
    "evaluate": "eofuse.learning.evaluate",
    "open_store": "eofuse.data.store",
    "open_study": "eofuse.recipe",
    "pack": "eofuse.data.pack",
    "predict_store": "eofuse.inference.predict",
    "pretrain": "eofuse.recipe",
    "resume": "eofuse.recipe",
    "show_patch": "eofuse.reports.figures.patch",
    "simulate": "eofuse.data.simulate",
    "study": "eofuse.recipe",
    "train": "eofuse.recipe",
}

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'eofuse' has no attribute '{name}'")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return __all__
