"""What a data card tells of a store, as values; `eofuse.reports.data_card` draws it, `eofuse.data.card.findings` judges it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.data.card.balance import Balance, balance, natural_target
from eofuse.data.card.duplicates import Duplicates, find_duplicates
from eofuse.data.card.scan import Scan, scan_store
from eofuse.data.scenes import Scenes, scenes_of
from eofuse.data.splits import Leakage, Protocol, Split, SplitOptions, leakage, make_split
from eofuse.data.splits.comparison import protocol_leakage
from eofuse.data.store import Store
from eofuse.data.targets import make_target
from eofuse.errors import DataError
from eofuse.progress import Progress

MOST_PATCHES = 10_000


@dataclass(frozen=True)
class DataCard:
    """Facts about a store and a way to split it.

    Attributes:
        split: the split that was looked at.
        protocol: how it was made.
        instead: why it is not by scene, empty if it is or was asked for.
        part: number of the part of each patch of the store, −1 for none, (patches,).
        scenes: part → its scenes, as far as they are known.
        leakage: how leaky the split is.
        protocols: how leaky each possible protocol is.
        presence: a row a modality, a column a part: patches that have it.
        scans: what was seen of each numeric modality.
        looked_at: patches of which rasters and series were read.
        bands: modality, channel, patches looked at, empty, constant (patches in which it is so), value (if it is the same
            everywhere, else NaN).
        duplicates: by modality.
        balance: of the target; None where the store has no labels.
        seed: of what was drawn.
    """

    split: Split
    protocol: str
    instead: str
    part: npt.NDArray[np.int64]
    scenes: dict[str, Scenes]
    leakage: Leakage
    protocols: dict[str, Leakage]
    presence: pd.DataFrame
    scans: dict[str, Scan]
    looked_at: int
    bands: pd.DataFrame
    duplicates: list[Duplicates]
    balance: Balance | None
    seed: int


def look_at(
    store: Store,
    *,
    protocol: Protocol | None = None,
    target: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> DataCard:
    """Gathers the facts of a data card. Of more than 10,000 patches, the rasters and series of as many are read.

    Args:
        store: the store.
        protocol: how it is split; by scene by default, where that is possible.
        target: whose balance is shown; what the store most likely is for by default.
        seed: of the split and of everything that is drawn.
        progress: called with (patches done, patches in all).

    Raises:
        DataError: if the store can't be split in the way asked for, or no patch has the target.
        UsageError: if there is no such target.
    """
    chosen = natural_target(store) if target is None else make_target(store, target)
    name, split, instead = _split(store.index, protocol, seed)
    part = np.full(len(store), -1)
    for number, rows in enumerate(split.parts().values()):
        part[rows] = number
    rows = np.arange(len(store))
    if len(rows) > MOST_PATCHES:
        rows = np.sort(np.random.default_rng([seed, 19]).choice(rows, size=MOST_PATCHES, replace=False))
    scans = scan_store(store, rows, seed, progress)
    return DataCard(
        split=split,
        protocol=name,
        instead=instead,
        part=part,
        scenes={key: scenes_of(store.index.iloc[chosen]) for key, chosen in split.parts().items()},
        leakage=leakage(store.index, split),
        protocols=protocol_leakage(store.index, SplitOptions(split_seed=seed)),
        presence=pd.DataFrame(
            {
                key: [int(store.present(m)[chosen].sum()) for m in store.modalities]
                for key, chosen in split.parts().items()
            },
            index=pd.Index(list(store.modalities), name="modality"),
        ),
        scans=scans,
        looked_at=len(rows),
        bands=_bands(scans),
        duplicates=find_duplicates(store, scans, part),
        balance=None if chosen is None else balance(chosen, split.parts(), seed),
        seed=seed,
    )


def _split(index: pd.DataFrame, protocol: Protocol | None, seed: int) -> tuple[str, Split, str]:
    """Name, split, and why it is not by scene."""
    if protocol is not None:
        return protocol, make_split(index, SplitOptions(protocol=protocol, split_seed=seed)), ""
    instead = ""
    others: tuple[Protocol, ...] = ("scene", "blocks", "random")
    for name in others:
        try:
            return name, make_split(index, SplitOptions(protocol=name, split_seed=seed)), instead
        except DataError as error:
            instead = instead or f"{error.where}: {error.what}" if error.where else instead or error.what
    raise DataError(instead, fix="a store needs at least three patches")


def _bands(scans: dict[str, Scan]) -> pd.DataFrame:
    lines = []
    for name, scan in scans.items():
        for position, channel in enumerate(scan.modality.channels):
            values = scan.values[:, position]
            known = values[np.isfinite(values)]
            lines.append(
                {
                    "modality": name,
                    "channel": channel.name,
                    "patches": len(scan.rows),
                    "empty": int(scan.empty[:, position].sum()),
                    "constant": int(scan.constant[:, position].sum()),
                    "value": float(known[0]) if len(known) and known.min() == known.max() else np.nan,
                }
            )
    return pd.DataFrame(lines, columns=["modality", "channel", "patches", "empty", "constant", "value"])
