"""Ordered classes of a patch: one class, and a loss that grows with the distance to it (Hou et al. 2016, arXiv:1611.05916)."""

from dataclasses import replace

from torch.nn import functional

from eofuse.evaluation.metrics.classification import LabelTotals
from eofuse.kinds import KINDS, SINGLE_LABEL
from eofuse.tasks import TASKS
from eofuse.tasks.single_label import SingleLabel

ORDINAL = KINDS.add(
    replace(
        SINGLE_LABEL,
        name="ordinal",
        words="one of ordered classes a patch",
        evidence={**SINGLE_LABEL.evidence, "distance": ()},
    )
)


class OrdinalTotals(LabelTotals):
    """Totals of classes, and `distances` (N,) from the predicted class to the true one."""

    @property
    def distances(self):
        """Of each patch."""
        return self.evidence["distance"]


@TASKS.register("ordinal")
class Ordinal(SingleLabel):
    """Classification into classes that have an order."""

    kind = ORDINAL
    totals = OrdinalTotals
    losses = ("earth_mover",)
    balances = ("none", "sampling")

    def loss(self, output, truth, known):
        """Squared distance between the cumulative distributions, the mean over heads and labelled patches."""
        wanted = functional.one_hot(truth, len(self.classes)).to(output.dtype)
        distance = (output.softmax(-1).cumsum(-1) - wanted.cumsum(-1)).square().sum(-1).mean(0)
        return (distance * known).sum() / known.sum().clamp(min=1)

    def evidence(self, prediction, truth, spec, *, complete=True):
        """That of classes, and the distance."""
        distance = abs(prediction.argmax(1) - truth).astype("float64")
        return {**super().evidence(prediction, truth, spec, complete=complete), "distance": distance}
