"""Views of patches: what contrastive methods compare, and other methods look at."""

from collections.abc import Iterable

from eofuse.errors import UsageError
from eofuse.learning.augment import Augmentation, AugmentOptions, make_augmentation
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.modalities import Modality

TWO_VIEWS = AugmentOptions(preset="strong")
"""Of a method that compares two views of a patch, where the recipe says nothing: it learns what they have in common."""

ONE_VIEW = AugmentOptions(preset="light")
"""Of any other method, where the recipe says nothing."""


def make_view(options: PretrainingOptions, modalities: Iterable[Modality]) -> Augmentation:
    """A random view of a batch, as the recipe's `augment` says."""
    return _augmentation(options.augment or ONE_VIEW, modalities)


def make_one_of_two_views(options: PretrainingOptions, modalities: Iterable[Modality]) -> Augmentation:
    """A random view of a batch, to be compared with another one.

    Raises:
        UsageError: if the recipe says that all views are the same.
    """
    chosen = options.augment or TWO_VIEWS
    if chosen == AugmentOptions():
        found = f"{options.pretrain.method} compares two views of a patch, which are the same without augmentation"
        raise UsageError(found, where="augment", fix="use strong")
    return _augmentation(chosen, modalities)


def _augmentation(options: AugmentOptions, modalities: Iterable[Modality]) -> Augmentation:
    return make_augmentation(options, {modality.name: modality for modality in modalities}, {})
