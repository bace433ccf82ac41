"""Pictures of one run: the course of its training, its confusions, and test patches that it got right and wrong; of a pretraining.

::

    curves.png      loss and metric of training and validation by step
    confusion.png   of targets with one class a patch or pixel
    scatter.png     of targets with numbers a patch: predicted against true
    examples.png    test patches with truth and prediction, the best and the worst

Of a pretraining, `curves.png` has what was seen on validation, and `reconstruction.png` shows what methods that hide make of it.
"""

from eofuse.pictures.examples import examples_of_run
from eofuse.pictures.pretraining import curves_of_pretraining, reconstruction_figure, reconstruction_of_pretraining
from eofuse.pictures.results import RunResults, results_of
from eofuse.pictures.runs import confusion_of_run, curves_of_run
from eofuse.pictures.show import RunPictures, keep_figure, show_augmented, show_run

__all__ = [
    "RunPictures",
    "RunResults",
    "confusion_of_run",
    "curves_of_pretraining",
    "curves_of_run",
    "examples_of_run",
    "keep_figure",
    "reconstruction_figure",
    "reconstruction_of_pretraining",
    "results_of",
    "show_augmented",
    "show_run",
]
