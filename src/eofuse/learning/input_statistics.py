"""What a model's inputs are normalised by: `training_statistics`, and `neutral_statistics` where nothing is read."""

from collections.abc import Iterable

import numpy as np

from eofuse.data.card.statistics import PIECES, channel_moments, channel_quantiles
from eofuse.data.loading import Loader, Rows
from eofuse.errors import DataError
from eofuse.modalities import Modality
from eofuse.models.encoders import EncoderOptions
from eofuse.models.normalisation import ChannelStatistics


def training_statistics(loader: Loader, rows: Rows, options: EncoderOptions) -> ChannelStatistics:
    """Statistics of what a loader reads, over the training patches; quantiles where encoders need them.

    What no training patch has gets neutral statistics. The channels of an embedding have one deviation, that from 0.

    Raises:
        DataError: if a channel has no value in any training patch that has its modality.
    """
    moments = channel_moments(loader, rows)
    unknown = [name for name, found in moments.items() if not found.patches]
    for name, found in moments.items():
        for channel, mean in zip(loader.modalities[name].channel_names, found.mean, strict=True):
            if found.patches and not np.isfinite(mean):
                what = f"no training patch has a value of '{name}.{channel}'"
                raise DataError(what, where=loader.store.path, fix="leave the channel out of the inputs")
    means = {name: found.mean.tolist() for name, found in moments.items()}
    stds = {name: found.std.tolist() for name, found in moments.items()}
    for name, found in moments.items():
        if loader.modalities[name].embedding:
            together = float(np.sqrt(np.mean(found.std**2 + found.mean**2)))
            means[name], stds[name] = [0.0] * len(found.mean), [together] * len(found.std)
    quantiles = channel_quantiles(loader, rows) if options.numbers == "piecewise" else {}
    neutral = neutral_statistics(loader.modalities[name] for name in unknown)
    return ChannelStatistics(
        means | neutral.mean,
        stds | neutral.std,
        quantiles | {name: neutral.quantiles[name] for name in unknown if name in quantiles},
    )


def neutral_statistics(modalities: Iterable[Modality]) -> ChannelStatistics:
    """Ones for mean and deviation, and evenly spaced quantiles, with which a model of the same size can be built."""
    ones, quantiles = {}, {}
    for modality in modalities:
        ones[modality.name] = [1.0] * len(modality.channels)
        quantiles[modality.name] = [[piece / PIECES for piece in range(PIECES + 1)] for _ in modality.channels]
    return ChannelStatistics(ones, ones, quantiles)
