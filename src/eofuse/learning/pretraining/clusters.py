"""`Clusters`: the region of the Earth in which a patch lies is predicted (of geography-aware learning, Ayush et al. 2021)."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from sklearn.cluster import KMeans
from torch import Tensor, nn

from eofuse import ranks
from eofuse.data.loading import Batch
from eofuse.devices import send
from eofuse.errors import DataError
from eofuse.learning.pretraining.base import Method
from eofuse.learning.pretraining.options import METHODS, PretrainingOptions, PretrainOptions
from eofuse.learning.pretraining.preparation import Unlabelled
from eofuse.learning.pretraining.views import make_view
from eofuse.models.model import Model
from eofuse.tasks.base import Array


class ClustersOptions(PretrainOptions):
    """Options of `Clusters`.

    Attributes:
        clusters: number of regions.
    """

    clusters: int = Field(default=20, ge=2)


@METHODS.register("clusters")
class Clusters(Method):
    """Classifies patches by region: a cluster (k-means) of the places of the training patches.

    Raises:
        DataError: if the training patches lie at fewer places than there are regions to be.
    """

    Options = ClustersOptions

    def __init__(self, model: Model, data: Unlabelled, options: PretrainingOptions) -> None:
        assert isinstance(options.pretrain, ClustersOptions)
        count = options.pretrain.clusters
        places = places_on_sphere(data)
        placed = np.asarray(np.isfinite(places).all(axis=1))
        train = data.rows["train"][placed[data.rows["train"]]]
        found = len(np.unique(places[train], axis=0))
        if found < count:
            what = f"the training patches lie at {found} known places, which make no {count} clusters"
            raise DataError(what, where=data.store.path, fix="lower pretrain.clusters, or choose another method")
        means = KMeans(count, n_init=10, random_state=options.seed).fit(places[train])
        regions = np.full(len(places), -1)
        regions[placed] = means.predict(places[placed])
        self.regions = torch.from_numpy(regions.astype(np.int64))
        self.module: nn.Module = _Classifier(model, count)
        self.view = make_view(options, model.spec.modalities)

    def step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross-entropy, and the share of patches whose region is right; patches without a place do not count."""
        inputs = self.view(batch).inputs
        logits = self.module(inputs)
        regions = send(self.regions[torch.from_numpy(batch.rows)], logits.device)
        known = regions >= 0
        losses = [F.cross_entropy(each, regions.clamp(min=0), reduction="none") for each in logits]
        right = (logits.softmax(-1).mean(0).argmax(-1) == regions).sum()
        sums = torch.stack([(torch.stack(losses).mean(0) * known).sum(), right.to(logits), known.sum().to(logits)])
        loss, right, patches = ranks.summed(sums.float())
        patches = patches.clamp(min=1)
        return loss / patches, {"accuracy": (right / patches).detach()}


class _Classifier(nn.Module):
    """A linear layer on the vector of each set of features."""

    def __init__(self, model: Model, classes: int) -> None:
        super().__init__()
        self.model = model
        self.layers = nn.ModuleList(nn.Linear(size.vector, classes) for size in model.fusion.sizes)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Logits (sets, B, classes) of a batch in native dtype."""
        pairs = zip(self.layers, self.model.features(inputs), strict=True)
        return torch.stack([layer(features.vector) for layer, features in pairs])


def places_on_sphere(data: Unlabelled) -> Array:
    """Places of all patches of a store as points of the unit sphere, (patches, 3), NaN if unknown."""
    lon, lat = (np.radians(data.store.index[name].to_numpy(dtype=float)) for name in ("lon", "lat"))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
