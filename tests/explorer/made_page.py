"""Pages of the explorer made from arrays: any number of points, and names that would do harm if they were markup."""

from pathlib import Path
from typing import Any

import numpy as np

from eofuse.explorer.columns import Column, Sort, categories
from eofuse.explorer.pictures import Thumbnails, encoded
from eofuse.explorer.write import column_data, packed, page, thumbnail_data

HOSTILE = (
    "</script><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "[bold]$x^2$[/bold] 'quoted' \"twice\" \\u003c &lt;",
    "\x1b[31mred\u2028line",
)
VARIANTS = ("first", "second <b>")


def made_data(count: int, thumbnails: int = 0, hostile: bool = False) -> dict[str, Any]:
    """What a page shows: a grid of patches from west to east, every fourth a test patch, whose predictions get worse to the north."""
    side = int(np.ceil(np.sqrt(count)))
    across, up = (np.arange(count) % side) / side, (np.arange(count) // side) / side
    ids = [f"patch_{row}" for row in range(count)]
    if hostile:
        ids[: len(HOSTILE)] = HOSTILE
    rows = np.arange(0, count, 4)
    names = HOSTILE if hostile else ("water", "forest", "town")
    columns = [
        categories("part in the run", ["test" if row % 4 == 0 else "train" for row in range(count)], "Predictions"),
        Column("height", Sort.NUMBER, up * 1000, unit="m"),
        Column("land", Sort.CATEGORY, np.arange(count) % len(names), names),
    ]
    if hostile:
        columns += [Column(name, Sort.NUMBER, up, group=name) for name in HOSTILE]
    sets = []
    for variant, limit in zip(VARIANTS, (0.5, 0.75), strict=True):
        wrong = (up[rows] > limit).astype(np.int32)
        shown = [
            Column(
                "right or wrong", Sort.CATEGORY, wrong, ("right", "wrong"), ("#0072b2", "#d55e00"), group="Predictions"
            ),
            Column("error", Sort.NUMBER, up[rows], group="Predictions"),
            Column("predicted", Sort.CATEGORY, wrong, names, group="Predictions"),
            Column("true", Sort.CATEGORY, np.zeros(len(rows), dtype=np.int32), names, group="Predictions"),
        ]
        told = {"target": "land", "variant": variant, "seed": 0, "rows": 0, "error": "how wrong"}
        sets.append({**told, "columns": [column_data(column) for column in shown]})
    places = np.where(np.arange(count) < thumbnails, np.arange(count), -1)
    random = np.random.default_rng(0)
    sheet = encoded(random.integers(0, 255, (16 * -(-thumbnails // 32), 512, 3), dtype=np.uint8)) if thumbnails else ""
    return {
        "title": HOSTILE[0] if hostile else "made",
        "kind": "study",
        "path": HOSTILE[1] if hostile else "study",
        "store": HOSTILE[2] if hostile else "a.store",
        "run": "",
        "canSuggest": False,
        "simulated": True,
        "patches": count,
        "pixels": [16, 16],
        "ids": ids,
        "heldOut": packed((np.arange(count) % 4 == 0).astype(np.uint8)),
        "map": {"x": packed(10 + across), "y": packed(50 + up), "known": count},
        "embedding": {"x": packed(up), "y": packed(across), "known": count, "title": "PCA", "words": "made"},
        "columns": [column_data(column) for column in columns],
        "colour": "land",
        "sets": sets,
        "setRows": [packed(rows)],
        "thumbnails": thumbnail_data(Thumbnails(16, (sheet,), places, "made", per_sheet=thumbnails or 1)),
        "large": {},
        "notes": list(HOSTILE) if hostile else [],
    }


def write_page(path: Path, count: int, **options: Any) -> Path:
    """Writes such a page."""
    path.write_text(page(made_data(count, **options)), encoding="utf-8")
    return path
