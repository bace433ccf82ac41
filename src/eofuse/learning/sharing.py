"""What the runs of one process share: `prepare_once`."""

from collections import OrderedDict

from eofuse.data.store import Store
from eofuse.learning.options import RunOptions
from eofuse.learning.preparation import Prepared, annotation_digests, prepare

MOST_RECENT = 4
"""Preparations that `prepare_once` keeps."""

_recent: OrderedDict[tuple[int, bool, str], Prepared] = OrderedDict()
"""What `prepare_once` gave, the last one last, by store and what they depend on; each keeps its store, whose id stays its own."""


def prepare_once(store: Store, options: RunOptions, *, blind: bool = False) -> Prepared:
    """As `prepare`; what this process prepared lately for the same patches and targets is given again, to be read only.

    So the runs of a study that differ in their training alone, and test and training of one run, share it.
    """
    text = options.model_dump_json(exclude={"name", "seed", "train", "weighting"})
    key = id(store), blind, f"{text} {sorted(annotation_digests(options).items())}"
    found = _recent.pop(key, None)
    if found is None:
        found = prepare(store, options, blind=blind)
    _recent[key] = found
    while len(_recent) > MOST_RECENT:
        _recent.popitem(last=False)
    return found
