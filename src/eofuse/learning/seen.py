"""Whether weights have seen what a run is tested on: `refuse_seen`; and weights whose vectors it takes: `refuse_seen_vectors`.

Test patches from which the weights learned, in whichever store and under whichever id, are refused, and so is a target that derives
from what they saw. What can't be decided, or spoils other numbers than those of the test, is said in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eofuse.data.loading import Rows
from eofuse.data.splits.identity import Identities, far_apart, identities, mixed, overlaps
from eofuse.data.store import Store
from eofuse.data.targets import Target
from eofuse.errors import UsageError
from eofuse.learning.leaks import gives_away
from eofuse.learning.lineage import History, Role, Roles, Training, history_of_vectors, matches

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Use:
    """How a run uses trained weights, in the words of its messages.

    Attributes:
        words: follow the name of the training.
        where: the key of the recipe that names them.
        otherwise: what else a user can do.
    """

    words: str
    where: str
    otherwise: str


START = Use("where this run starts", "start.from", "start from other weights")

HOW = {Role.LABELS: "with their labels", Role.VALIDATION: "for validation", Role.INPUTS: "without labels"}


def refuse_seen(
    history: History,
    store: Store,
    rows: Mapping[str, Rows],
    unlabelled: Rows,
    targets: Sequence[Target],
    use: Use = START,
) -> list[str]:
    """Raises a `UsageError` if weights have seen test patches of a run, or inputs from which its targets derive.

    Args:
        history: what the weights have learned from.
        store: of the run.
        rows: rows of its train, validation and test patches.
        unlabelled: rows of its other training patches, whose labels are hidden or not known.
        targets: what it learns.
        use: how the run uses the weights.

    Returns:
        What a reader of its results must know of the weights.
    """
    notes = []
    for training in history.trainings:
        if not training.is_known:
            notes.append(
                f"From which patches '{training.name}', {use.words}, has learned is not known: "
                "test patches may be among them, and scores too good."
            )
            continue
        _refuse_inputs(training, store, targets, use)
        used = training.roles > 0
        seen = _Seen(history.patches[training.store].take(used), training.roles[used], store, training)
        notes += _compare(seen, training, rows, unlabelled, targets, use)
    return list(dict.fromkeys(notes))


def refuse_seen_vectors(
    store: Store, inputs: Iterable[str], rows: Mapping[str, Rows], unlabelled: Rows, targets: Sequence[Target]
) -> list[str]:
    """As `refuse_seen`, of the runs whose vectors are among the inputs (see `eofuse.embedding`)."""
    notes: list[str] = []
    for name, history in history_of_vectors(store, inputs).items():
        use = Use(f"of which '{name}' holds the vectors", "inputs", f"leave out '{name}'")
        notes += refuse_seen(history, store, rows, unlabelled, targets, use)
    return notes


def _refuse_inputs(training: Training, store: Store, targets: Sequence[Target], use: Use) -> None:
    for target in targets:
        for source in target.sources:
            channels = training.inputs.get(source)
            if channels is not None and (not channels or gives_away(target, _own(store, source, channels))):
                what = f"the {training.kind} '{training.name}' saw '{source}', from which the target derives"
                fix = f"use weights that were trained without '{source}'"
                raise UsageError(what, where=use.where, fix=fix)


def _own(store: Store, source: str, channels: Sequence[str]) -> list[str]:
    """Names that a store has for channels that were called by the names of another one; those that it lacks stay."""
    modality = store.modality(source)
    found: list[str] = []
    for name in channels:
        try:
            found += modality.own_names([name])
        except UsageError:
            found.append(name)
    return found


class _Seen:
    """The patches that a training used, beside those of a store.

    Attributes:
        own: marks of the store's patches.
        content: digests of what the store's patches hold of the inputs of the training.
    """

    def __init__(self, seen: Identities, roles: Roles, store: Store, training: Training) -> None:
        self.seen, self.roles = seen, roles
        self.same_store = training.store == store.fingerprint
        self.own = identities(store, training.inputs)
        names = seen.values.keys() & self.own.values.keys()
        hints = seen.hints.keys() & self.own.hints.keys()
        self.content, self._seen_content = (mixed(each.values, names, len(each)) for each in (self.own, seen))
        self._hint, self._seen_hint = (mixed(each.hints, hints, len(each)) for each in (self.own, seen))

    def roles_of(self, rows: Rows) -> tuple[Roles, Mask]:
        """What the training used patches of the store for, (rows,), and which of them have but the id of one that it used.

        The latter hold other values, and their places are not known.
        """
        mine, content = self.own.take(rows), self.content[rows]
        at, role = matches(mine.ids, self.seen.ids, self.roles)
        named = at >= 0
        doubtful = np.zeros(len(rows), dtype=bool)
        if named.any():
            other = self.seen.take(np.maximum(at, 0))
            named &= ~far_apart(mine, other)
            differ = np.zeros(len(rows), dtype=bool)
            for here, there in ((content, self._seen_content), (self._hint[rows], self._seen_hint)):
                values = there[np.maximum(at, 0)]
                differ |= (here != 0) & (values != 0) & (here != values)
            doubtful = named & differ & ~((mine.side > 0) & (other.side > 0))
        _, alike = matches(content, self._seen_content, self.roles)
        return np.maximum(np.where(named & ~doubtful, role, 0), alike).astype(np.uint8), doubtful & (alike == 0)

    def comparable(self, rows: Rows) -> Mask:
        """Of which patches of the store more than the id can be compared with what the training used, (rows,).

        Within one store ids decide.
        """
        by_values = (self.content[rows] != 0) & bool(self._seen_content.any())
        by_place = (self.own.side[rows] > 0) & bool((self.seen.side > 0).any())
        return np.asarray(by_values | by_place | self.same_store)

    def ground(self, rows: Rows) -> Mask:
        """Which patches of the store cover ground that the training used, (rows,)."""
        return overlaps(self.own.take(rows), self.seen)


def _compare(
    seen: _Seen,
    training: Training,
    rows: Mapping[str, Rows],
    unlabelled: Rows,
    targets: Sequence[Target],
    use: Use,
) -> list[str]:
    whose = f"the {training.kind} '{training.name}', {use.words}"
    test, learned = rows["test"], np.union1d(rows["train"], unlabelled)
    roles, doubtful = seen.roles_of(test)
    by_id = matches(seen.own.ids[test], seen.seen.ids, seen.roles)[0] >= 0
    twins = ~by_id & np.isin(seen.content[test], seen.content[learned])  # the run's own training patches hold the same
    copies = twins & (roles > 0)
    roles[twins] = 0
    if roles.any():
        counts = {words: int((roles == role).sum()) for role, words in HOW.items()}
        how = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
        what = f"{int((roles > 0).sum())} of {len(test)} test patches were seen in the {training.kind} '{training.name}' ({how})"
        raise UsageError(what, where=use.where, fix=f"give both recipes the same split, or {use.otherwise}")
    notes = []
    if copies.any():
        notes.append(
            f"{copies.sum()} of {len(test)} test patches hold the same values as patches of which {whose}, learned; training patches "
            "of this run hold them too."
        )
    if doubtful.any():
        notes.append(
            f"{doubtful.sum()} of {len(test)} test patches have the id of a patch that {whose}, used, with other values: "
            "whether they are the same is not known."
        )
    blind = ~by_id & ~seen.comparable(test)
    if blind.any():
        notes.append(
            f"{blind.sum()} of {len(test)} test patches could be compared with those of {whose}, by their ids only, because values or "
            "places are not known of both: whether they are the same under another id is not known."
        )
    shared = seen.ground(test)
    if shared.any():
        own = int(overlaps(seen.own.take(test[shared]), seen.own.take(learned)).sum())
        notes.append(
            f"{shared.sum()} of {len(test)} test patches cover ground on which {whose}, learned (this run's own training patches "
            f"cover that of {own} of them): scores of places that were not seen will be lower."
        )
    validation = seen.roles_of(rows["validation"])[0]
    known = np.isin(validation, (Role.LABELS, Role.INPUTS))
    if known.any():
        with_labels = " with their labels" if (validation == Role.LABELS).any() else ""
        notes.append(
            f"{known.sum()} of {len(validation)} validation patches were learned from{with_labels} in {whose}: scores on validation "
            "are too good, and the step, temperatures and intervals that they choose less sure. The test patches were not seen."
        )
    return notes + _hidden_labels(seen, training, whose, unlabelled, targets)


def _hidden_labels(
    seen: _Seen, training: Training, whose: str, unlabelled: Rows, targets: Sequence[Target]
) -> list[str]:
    """Says if the weights learned from labels that the run does not use."""
    sources = {source for derived in training.targets.values() for source in derived}
    alike = [
        target.name for target in targets if target.name in training.targets or not sources.isdisjoint(target.sources)
    ]
    hidden = int((seen.roles_of(unlabelled)[0] == Role.LABELS).sum()) if alike else 0
    if not hidden:
        return []
    return [
        f"{hidden} training patches whose labels this run does not use were learned from with their labels in {whose}: "
        "it has seen more labels than it counts."
    ]
