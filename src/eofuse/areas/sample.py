"""Where to look for reference labels: `sample_map` draws a probability sample of a map's pixels.

Within each stratum every pixel has the same chance, without replacement. Strata are drawn by their own streams of random numbers, so
one seed gives one sample whatever the blocks of the file. Two passes over the map: counting, then finding what was drawn.
"""

import filecmp
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from eofuse.areas.classmap import NOT_KNOWN, open_map
from eofuse.areas.design import FORMAT, DesignRecord, PointRecord, StratumRecord, design_path, write_design
from eofuse.areas.frame import CONFIDENCES, Census, Frame, take_census
from eofuse.areas.ground import HECTARE
from eofuse.areas.points import check_format, write_points
from eofuse.areas.strata import IntArray, Strata, allocate, make_strata, needs_confidence
from eofuse.errors import UsageError
from eofuse.locks import writes
from eofuse.progress import Progress
from eofuse.words import counted

REPEATED_TAGS = ("target", "learned_from", "model_sha256", "note")
RESERVED = ("id", "lon", "lat", "fid", "geom", "geometry")


@dataclass(frozen=True, eq=False)
class DrawnSample:
    """A sample that was drawn.

    Attributes:
        points: file for the labeller: ids, places, and an empty column for the label.
        design: file beside it with strata, weights and the map's classes.
        label: name of the empty column.
        frame: what was sampled, in words; the estimates will speak of that.
        strata: a row a stratum: name, pixels, hectares, expected accuracy, points.
        notes: what must be known.
    """

    points: Path
    design: Path
    label: str
    frame: str
    strata: pd.DataFrame
    notes: list[str]


@writes("output")
def sample_map(
    path: str | Path,
    output: str | Path,
    n: int = 300,
    *,
    by: str = "class",
    allocation: str = "neyman",
    smallest: int | None = None,
    seed: int = 0,
    label: str = "class",
    with_training_areas: bool = False,
    classes: str | Path | Mapping[int, str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DrawnSample:
    """Draws points on a map at which reference labels are to be found.

    Args:
        path: a map of classes; see `eofuse.areas.classmap`.
        output: file of points: GeoPackage, GeoJSON or CSV, by its ending. The design goes beside it.
        n: points.
        by: strata: `class`, `confidence`, `class-confidence`, or `none` for a simple random sample.
        allocation: `equal`, `proportional` to area, or `neyman`: area times the spread that the map's confidence lets expect.
        smallest: points that each stratum gets at least; by default 30, or half of an equal share where that is less.
        seed: the same seed gives the same points.
        label: name of the column for labels.
        with_training_areas: whether points may lie where the model learned.
        classes: names of classes by code, or a file of them.
        overwrite: whether files that exist are replaced.
        progress: called with (rows read, rows to read).

    Returns:
        What was drawn, with the files that were written.

    Raises:
        UsageError: if an option does not fit the map, or a file exists.
        DataError: if the map can't be sampled.
    """
    output = Path(output)
    check_format(output)
    if seed < 0:
        raise UsageError(f"{seed} can't be a seed", where="seed", fix="choose 0 or more")
    design = design_path(output)
    if label.lower() in RESERVED or not label.strip():
        raise UsageError(
            f"'{label}' can't be the name of the column for labels", where="label", fix="name it class, say"
        )
    frame = Frame(open_map(path, classes), with_training_areas)
    census = take_census(frame, progress, confidence=needs_confidence(frame, by, allocation))
    strata = make_strata(frame, census, by)
    points = allocate(strata, n, allocation, smallest)
    drawn = _find(frame, census, strata, _draw(strata, points, seed), progress)
    ids = _ids(len(drawn), seed)
    drawn = drawn.iloc[np.random.default_rng([seed, len(strata.names)]).permutation(len(drawn))]
    places = np.array(
        [frame.map.file.grid.place_of(c + 0.5, r + 0.5) for c, r in zip(drawn["column"], drawn["row"], strict=True)]
    )
    record = _record(frame, census, strata, points, drawn, ids, by, allocation, smallest, seed, label)

    def write(points: Path, design: Path) -> None:
        write_points(points, frame.map.file.grid, places, ids, label)
        write_design(design, record)

    if not overwrite:
        _require_same(output, design, write)
    write(output, design)
    table = pd.DataFrame(record["strata"])
    return DrawnSample(output, design, label, record["frame"], table, _notes(frame, census, strata))


def _require_same(output: Path, design: Path, write: Callable[[Path, Path], None]) -> None:
    """Refuses files that exist, but for those of the same sample without a label, which an interrupted command leaves.

    Raises:
        UsageError: if there is one.
    """
    present = [path for path in (output, design) if path.exists()]
    if not present:
        return
    with TemporaryDirectory() as folder:
        write(Path(folder, output.name), Path(folder, design.name))
        for path in present:
            if not filecmp.cmp(path, Path(folder, path.name), shallow=False):
                fix = "name another file, or replace it with --overwrite: labels in it are lost"
                raise UsageError("exists", where=path, fix=fix)


def _draw(strata: Strata, points: IntArray, seed: int) -> list[IntArray]:
    """For each stratum, the ranks among its pixels, from top left, of those that are drawn."""
    ranks = []
    for number, (count, pixels) in enumerate(zip(points.tolist(), strata.pixels.tolist(), strict=True)):
        generator = np.random.default_rng([seed, number])
        ranks.append(np.sort(generator.choice(pixels, count, replace=False)).astype(np.int64))
    return ranks


def _find(
    frame: Frame, census: Census, strata: Strata, ranks: list[IntArray], progress: Progress | None
) -> pd.DataFrame:
    """The pixels that are drawn: stratum, row, column, code and area, by stratum and place."""
    passed = np.zeros(len(ranks), dtype=np.int64)
    of_cell = np.concatenate([np.full(CONFIDENCES, -1, dtype=np.int16), strata.of_cell])
    parts = []
    for strip in frame.strips(progress, confidence=_reads_confidence(strata)):
        stratum = of_cell.take(census.cells(strip))
        if frame.excludes_training:
            stratum[~strip.inside] = -1
        present = np.bincount((stratum + 1).ravel(), minlength=len(ranks) + 1)[1:]
        for number in np.flatnonzero(present).tolist():
            wanted = ranks[number]
            first, last = np.searchsorted(wanted, [passed[number], passed[number] + present[number]])
            if first < last:
                cells = np.flatnonzero(stratum.ravel() == number)[wanted[first:last] - passed[number]]
                row, column = np.divmod(cells, stratum.shape[1])
                area, code = frame.areas.at(row + strip.top, column), strip.codes[row, column]
                parts.append(
                    pd.DataFrame(
                        {"stratum": number, "row": row + strip.top, "column": column, "code": code, "area": area}
                    )
                )
        passed += present
    return pd.concat(parts).sort_values(["stratum", "row", "column"], ignore_index=True)


def _reads_confidence(strata: Strata) -> bool:
    """Whether cells of the census differ by confidence."""
    return bool((strata.of_cell.reshape(-1, CONFIDENCES)[:, 1:] >= 0).any())


def _ids(count: int, seed: int) -> list[str]:
    width = max(3, len(str(count)))
    return [f"p{number:0{width}d}" for number in range(1, count + 1)]


def _record(
    frame: Frame,
    census: Census,
    strata: Strata,
    points: IntArray,
    drawn: pd.DataFrame,
    ids: list[str],
    by: str,
    allocation: str,
    smallest: int | None,
    seed: int,
    label: str,
) -> DesignRecord:
    rows: list[StratumRecord] = [
        {
            "name": name,
            "pixels": int(strata.pixels[number]),
            "hectares": float(strata.areas[number]) / HECTARE,
            "expected": round(float(strata.expected[number]), 4),
            "points": int(points[number]),
        }
        for number, name in enumerate(strata.names)
    ]
    places: list[PointRecord] = []
    for each, row in zip(ids, drawn.to_dict("records"), strict=True):
        number = int(row["stratum"])
        chance = float(points[number] / strata.pixels[number])
        places.append(
            {
                "id": each,
                "stratum": strata.names[number],
                "map_code": int(row["code"]),
                "map_class": frame.map.name(int(row["code"])),
                "row": int(row["row"]),
                "column": int(row["column"]),
                "square_metres": float(row["area"]),
                "inclusion": chance,
                "weight": 1 / chance,
            }
        )
    return {
        "format": FORMAT,
        "map": frame.map.path.name,
        "map_digest": census.digest(frame),
        "map_tags": {key: frame.map.tags[key] for key in REPEATED_TAGS if key in frame.map.tags},
        "seed": seed,
        "by": by,
        "allocation": allocation,
        "smallest": smallest,
        "label": label,
        "frame": census.words(frame),
        "training": frame.training,
        "left_out_pixels": census.left_out_pixels,
        "left_out_hectares": census.left_out_area / HECTARE,
        "strata": rows,
        "points": places,
    }


def _notes(frame: Frame, census: Census, strata: Strata) -> list[str]:
    notes = []
    if frame.map.note:
        notes.append(f"the map was {frame.map.note}" if frame.map.note.startswith("made") else frame.map.note)
    if not frame.knows_training:
        notes.append(f"{NOT_KNOWN}: points there would flatter the map")
    if frame.training == "included":
        notes.append("points may lie where the model learned: there the map is better than elsewhere")
    few = [
        f"{name} ({counted(int(count), 'pixel')})"
        for name, count in zip(strata.names, strata.pixels, strict=True)
        if count < 30
    ]
    if few:
        notes.append(f"strata of few pixels: {', '.join(few)}")
    return notes
