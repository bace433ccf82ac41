"""The data card of a store: one HTML file that shows what is in it and says what to fix first."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eofuse.data.card.describe import DataCard, look_at
from eofuse.data.card.duplicates import Duplicates
from eofuse.data.card.findings import Finding, findings
from eofuse.data.card.statistics import Scan
from eofuse.data.scenes import scenes_of
from eofuse.data.splits import PARTS, Protocol
from eofuse.data.store import Store
from eofuse.files import write_text
from eofuse.progress import Progress
from eofuse.reports import wording
from eofuse.reports.figures.by_part import by_part_figure
from eofuse.reports.figures.histograms import MOST_PANELS, histograms_figure
from eofuse.reports.figures.places import split_map_figure
from eofuse.reports.figures.splits import leakage_figure, leakage_words
from eofuse.reports.page import render_page
from eofuse.reports.pictures import Picture, picture, wide_and_narrow
from eofuse.words import counted

MOST_PAIRS = 12
MOST_CLASSES = 45
WEIGHT_WORDS = {"fix": "fix", "look": "look at", "know": "good to know"}


def data_card(
    store: Store,
    path: str | Path,
    *,
    protocol: Protocol | None = None,
    target: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Writes the data card of a store.

    Args:
        store: the store.
        path: the file to write; an older one is replaced when the new one is complete.
        protocol: the split that is looked at; by scene by default, where that is possible.
        target: whose balance is shown; what the store most likely is for by default.
        seed: of the split and of what is drawn.
        progress: called with (patches done, patches in all).

    Returns:
        The path of the card.

    Raises:
        DataError: if the store can't be split in the way asked for, or no patch has the target.
        UsageError: if there is no such target.
    """
    card = look_at(store, protocol=protocol, target=target, seed=seed, progress=progress)
    path = Path(path)
    write_text(path, render_page("data_card.html", _context(store, card, path)))
    return path


def _context(store: Store, card: DataCard, path: Path) -> dict[str, Any]:
    found = findings(store, card)
    sizes = {name: len(rows) for name, rows in card.split.parts().items()}
    return {
        "store": store,
        "patches": len(store),
        "scenes": scenes_of(store.index).words,
        "card": card,
        "sizes": sizes,
        "answer": _answer(found),
        "findings": found,
        "weights": WEIGHT_WORDS,
        "map": _map(store, card),
        "leakage": _leakage(card),
        "balance": _balance(card),
        "presence": _presence(card, sizes),
        "histograms": [_histograms(scan, card) for scan in card.scans.values()],
        "most_panels": MOST_PANELS,
        "bands": card.bands[(card.bands["empty"] > 0) | (card.bands["constant"] > 0) | card.bands["value"].notna()],
        "duplicates": [_duplicates(store, one, card) for one in card.duplicates],
        "modalities": list(store.modalities.values()),
        "explore": shlex.join(["eofuse", "explore", str(store.path), "-o", str(path.parent / "explore.html")]),
    }


def _answer(found: list[Finding]) -> str:
    to_fix = [finding for finding in found if finding.weight == "fix"]
    to_see = [finding for finding in found if finding.weight == "look"]
    if to_fix:
        rest = f", and {counted(len(to_see), 'thing')} to look at" if to_see else ""
        return f"{counted(len(to_fix), 'thing')} to fix before results can be trusted{rest}."
    if to_see:
        return f"Nothing has to be fixed; {counted(len(to_see), 'thing')} to look at."
    return "Nothing to fix was found."


def _map(store: Store, card: DataCard) -> Picture | None:
    figure = split_map_figure(store.index, card.part)
    alt = "Map of the patches by longitude and latitude, coloured by part."
    return None if figure is None else picture(figure, alt)


def _leakage(card: DataCard) -> Picture | None:
    entries = [{"protocol": name, **asdict(found)} for name, found in card.protocols.items()]
    if not entries:
        return None
    return wide_and_narrow(lambda width: leakage_figure(entries, card.protocol, width), leakage_words(entries))


def _balance(card: DataCard) -> dict[str, Any] | None:
    found = card.balance
    if found is None:
        return None
    if found.numbers:
        units = dict.fromkeys(found.numbers, found.unit)
        alt = f"Histograms of {wording.class_title(found.target)} by part of the split."
        shown = wide_and_narrow(lambda width: histograms_figure(found.numbers, units, width), alt)
        return {"target": found.target, "picture": shown, "facts": found, "left_out": 0}
    table = found.classes.head(MOST_CLASSES)
    wholes = found.labelled if found.counted == "patches" else {part: int(found.classes[part].sum()) for part in PARTS}
    of_what = f"the labelled {found.counted} of each part"
    alt = f"Bars of the share of each class of {wording.class_title(found.target)} in each part of the split."
    bars = wide_and_narrow(lambda width: by_part_figure(table, wholes, of_what, width), alt)
    return {"target": found.target, "picture": bars, "facts": found, "left_out": len(found.classes) - len(table)}


def _presence(card: DataCard, sizes: Mapping[str, int]) -> Picture | None:
    """Presence of each modality by part; None where every patch has all."""
    if (card.presence == list(sizes.values())).all(axis=None):
        return None
    listed = "; ".join(
        f"{name}: " + ", ".join(f"{wording.share(row[part], sizes[part])} of {part}" for part in PARTS)
        for name, row in card.presence.iterrows()
    )
    return wide_and_narrow(
        lambda width: by_part_figure(card.presence, sizes, "the patches of each part", width), f"Presence. {listed}."
    )


def _histograms(scan: Scan, card: DataCard) -> dict[str, Any]:
    """Values of a modality's channels, by part."""
    part = card.part[scan.rows]
    channels = scan.modality.channels
    values = {
        channel.name: {
            name: numbers[np.isfinite(numbers)]
            for name, numbers in ((name, scan.values[part == number, position]) for number, name in enumerate(PARTS))
        }
        for position, channel in enumerate(channels)
    }
    units = {channel.name: channel.unit for channel in channels}
    title = scan.modality.title or scan.modality.name
    alt = f"Histograms of {title}, one panel a channel, outlined by part of the split."
    return {
        "name": scan.modality.name,
        "title": title,
        "patches": len(scan.rows),
        "values": scan.values.shape[2],
        "channels": len(channels),
        "picture": wide_and_narrow(lambda width: histograms_figure(values, units, width), alt),
    }


def _duplicates(store: Store, found: Duplicates, card: DataCard) -> dict[str, Any]:
    """Counts of pairs, and some pairs that lie on two sides of the split."""
    ids, names = store.index["patch_id"], (*PARTS, "none")
    same, alike = (found.across(card.part, pairs) for pairs in (found.same, found.alike))
    lines = [
        {
            "words": words,
            "first": ids.iloc[row],
            "first_part": names[card.part[row]],
            "other": ids.iloc[other],
            "other_part": names[card.part[other]],
        }
        for pairs, words in ((same, "the same"), (alike, "nearly the same"))
        for row, other in pairs.tolist()
    ]
    return {
        "facts": found,
        "same": len(np.unique(found.same)),
        "alike": len(np.unique(found.alike)),
        "same_across": len(np.unique(same[:, 0])),
        "alike_across": len(np.unique(alike[:, 0])),
        "lines": lines[:MOST_PAIRS],
        "more": max(len(lines) - MOST_PAIRS, 0),
    }
