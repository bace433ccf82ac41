"""eofuse: data-efficient, multimodal deep learning for Earth observation.

The public names load what they need when they are first used: `import eofuse` imports no torch.

===============  ========================================================================
`simulate`       writes a simulated ben-ge folder
`download`       fetches a published dataset
`init`           folder or table → a first spec of it
`pack`           folder or table → packed store
`cut`            scenes → packed store of patches
`write_store`    samples of any origin, one by one → packed store
`open_store`     opens a packed store: `store[0]` is a patch, `store.dataset()` a PyTorch dataset
`merge`          several stores → one
`append`         adds the patches of other stores to a store
`subset`         some patches or modalities of a store → another store
`describe_store`  counts, statistics, classes, leakage of a store
`data_card`      a store → one page: what is in it, and what to fix first
`show_patch`     a picture of all modalities of a patch
`show_augmented`  a picture of what an augmentation makes of a patch
`augment_patch`  what an augmentation makes of a patch, as arrays
`show_grid`      several patches in one picture, at random or some of each class
`show_run`       pictures of a run: its course, confusions, test patches right and wrong
`explore`        a store, run or study → one page to look at: map, embedding, pictures, filters
`train`          one recipe → run
`pretrain`       one recipe → encoders trained without labels
`resume`         goes on with an interrupted run
`evaluate`       scores of a run with intervals
`attribute`      what each modality, scalar and band is worth to a run
`predict_store`  a trained model → predictions for every patch of a store
`export_model`   a run or study → an ONNX or torch.export file that predicts without eofuse
`model_card`     a run → one Markdown page: data, scores with intervals, limits, how to load
`open_run`       a trained run, that predicts a store or arrays
`map_scenes`     a run or study → maps of whole scenes
`embed`          vectors of a pretrained foundation model as a modality of a store
`suggest`        which patches of a store to annotate next
`sample_map`     where on a map to look for reference labels: a probability sample
`estimate_area`  a map and labels of such a sample → areas of its classes and its accuracy, with intervals
`study`          variants × seeds → leaderboard and report
`open_study`     a finished study; its best variant predicts
===============  ========================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from eofuse.areas.estimate import estimate_area as estimate_area
    from eofuse.areas.sample import sample_map as sample_map
    from eofuse.data.card.describe import describe_store as describe_store
    from eofuse.data.download import download as download
    from eofuse.data.specs.init import init as init
    from eofuse.data.store import open_store as open_store
    from eofuse.data.store.combine import append as append
    from eofuse.data.store.combine import merge as merge
    from eofuse.data.store.cut import cut as cut
    from eofuse.data.store.pack import pack as pack
    from eofuse.data.store.subset import subset as subset
    from eofuse.data.store.write import write_store as write_store
    from eofuse.embedding.make import embed as embed
    from eofuse.explorer.make import explore as explore
    from eofuse.export.card import model_card as model_card
    from eofuse.export.write import export_model as export_model
    from eofuse.inference.predict import predict_store as predict_store
    from eofuse.learning.attribution import attribute as attribute
    from eofuse.learning.augment.examples import augment_patch as augment_patch
    from eofuse.learning.evaluate import evaluate as evaluate
    from eofuse.maps.make import map_scenes as map_scenes
    from eofuse.pictures import show_augmented as show_augmented
    from eofuse.pictures import show_run as show_run
    from eofuse.recipe import pretrain as pretrain
    from eofuse.recipe import resume as resume
    from eofuse.recipe import study as study
    from eofuse.recipe import train as train
    from eofuse.reports.data_card import data_card as data_card
    from eofuse.reports.figures.patch import show_patch as show_patch
    from eofuse.reports.figures.patch_grid import show_grid as show_grid
    from eofuse.simulation import simulate as simulate
    from eofuse.suggestions import suggest as suggest
    from eofuse.trained import open_run as open_run
    from eofuse.trained import open_study as open_study

_ROOMS = {
    "append": "eofuse.data.store.combine",
    "attribute": "eofuse.learning.attribution",
    "augment_patch": "eofuse.learning.augment.examples",
    "cut": "eofuse.data.store.cut",
    "data_card": "eofuse.reports.data_card",
    "describe_store": "eofuse.data.card.describe",
    "download": "eofuse.data.download",
    "embed": "eofuse.embedding.make",
    "estimate_area": "eofuse.areas.estimate",
    "evaluate": "eofuse.learning.evaluate",
    "explore": "eofuse.explorer.make",
    "export_model": "eofuse.export.write",
    "map_scenes": "eofuse.maps.make",
    "merge": "eofuse.data.store.combine",
    "init": "eofuse.data.specs.init",
    "model_card": "eofuse.export.card",
    "open_run": "eofuse.trained",
    "open_store": "eofuse.data.store",
    "open_study": "eofuse.trained",
    "pack": "eofuse.data.store.pack",
    "predict_store": "eofuse.inference.predict",
    "pretrain": "eofuse.recipe",
    "resume": "eofuse.recipe",
    "sample_map": "eofuse.areas.sample",
    "show_augmented": "eofuse.pictures",
    "show_grid": "eofuse.reports.figures.patch_grid",
    "show_patch": "eofuse.reports.figures.patch",
    "show_run": "eofuse.pictures",
    "simulate": "eofuse.simulation",
    "study": "eofuse.recipe",
    "suggest": "eofuse.suggestions",
    "subset": "eofuse.data.store.subset",
    "train": "eofuse.recipe",
    "write_store": "eofuse.data.store.write",
}

__all__ = ["__version__", *_ROOMS]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'eofuse' has no attribute '{name}'")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return __all__
