"""Areas of the classes of a map and its accuracy, from the map and labelled points: `estimate_area`.

The labels alone decide; the map says how the points were drawn and, in the model-assisted estimate, makes intervals narrower. Points
that were not drawn at random are refused, because the chance with which each was taken is what turns points into hectares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.areas.assisted import Assisted, assisted_shares
from eofuse.areas.classmap import NO_CODE, NOT_KNOWN, open_map
from eofuse.areas.design import DesignRecord, read_design
from eofuse.areas.estimators import Estimate, Sample, area_shares, ratios, rests_on_little
from eofuse.areas.frame import Census, Frame, check_census
from eofuse.areas.ground import HECTARE, FloatArray
from eofuse.areas.helpers import Helpers
from eofuse.areas.placing import Placed, place_as_random, place_by_design
from eofuse.areas.points import class_of_labels, read_points
from eofuse.areas.strata import Strata, make_strata, needs_confidence
from eofuse.errors import DataError, UsageError
from eofuse.progress import Progress
from eofuse.words import counted, listed

AS_RANDOM = (
    "the points were treated as a simple random sample, which nobody knows them to be: the numbers say what would follow if every "
    "pixel had had the same chance, and their intervals do not hold the error of choosing where to look"
)


@dataclass(frozen=True, eq=False)
class AreaEstimates:
    """What follows from a map and labelled points.

    Attributes:
        map: file of the map.
        points: file of the points.
        frame: pixels that the numbers speak of, in words.
        method: how they were estimated, in words.
        hectares: area of the frame.
        classes: a row a class: `class`, `code`, `mapped_ha`, `area_ha` with `area_error_ha`, `area_low_ha`, `area_high_ha`; so
            too `assisted_ha`, with `tuning` (λ) and `worth_labels`; accuracies `users` and `producers` with `_error`, `_low`, `_high`;
            `points` (labelled as the class) and `caution`, empty where the interval can be trusted.
        overall: overall accuracy: `value`, `error`, `low`, `high`, and the same within `assisted`.
        matrix: error matrix as shares of the area, a row a class of the map, a column a class of the labels.
        matrix_error: standard errors of these shares.
        counts: labelled points by class of the map and label.
        strata: a row a stratum: name, pixels, hectares, points, labelled.
        helper: what made the assisted estimate: `probabilities`, `map`, or "" where there is none.
        notes: what was assumed.
        cautions: what can't be concluded.
    """

    map: Path
    points: Path
    frame: str
    method: str
    hectares: float
    classes: pd.DataFrame
    overall: dict[str, Any]
    matrix: pd.DataFrame
    matrix_error: pd.DataFrame
    counts: pd.DataFrame
    strata: pd.DataFrame
    helper: str
    notes: list[str]
    cautions: list[str]


def estimate_area(
    path: str | Path,
    points: str | Path,
    label: str = "class",
    *,
    output: str | Path | None = None,
    as_random: bool = False,
    classes: str | Path | Mapping[int, str] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AreaEstimates:
    """Estimates areas and accuracies with 95 % intervals.

    Args:
        path: the map that was sampled.
        points: the file of points that `sample_map` wrote, with labels: names or codes of classes.
        label: its column of labels.
        output: folder for `report.html`, `areas.csv` and `areas.json`; nothing is written by default.
        as_random: treat any points as a simple random sample of the whole map; they need no design.
        classes: names of classes by code, or a file of them; also classes that labels have and the map has not.
        overwrite: whether other estimates in the output are replaced.
        progress: called with (rows read, rows to read).

    Raises:
        UsageError: if the points are no probability sample of this map, a label is no class, or the output holds other estimates.
        DataError: if a file is damaged, points have moved, or a stratum has too few labels.
    """
    from eofuse.areas.output import check_output, write_output

    if output is not None:
        check_output(Path(output))
    class_map = open_map(path, classes)
    found = read_points(Path(points), class_map.file.grid, label, needs_ids=not as_random)
    design = None if as_random else read_design(Path(points))
    frame = Frame(class_map, design is None or design["training"] == "included")
    place = place_as_random(found, class_map) if design is None else place_by_design(found, design, class_map)
    by, allocation = ("none", "") if design is None else (design["by"], design["allocation"])
    census, helpers = _pass(frame, place, needs_confidence(frame, by, allocation), progress)
    strata = make_strata(frame, census, by)
    _check_map(frame, census, strata, place, helpers, design)
    known = {code: class_map.name(code) for code in (*class_map.declared, *census.codes)}
    place = place.with_codes(class_of_labels(place.labels, known, place.path))
    estimates = _estimate(frame, census, strata, place, helpers, design)
    if output is not None:
        write_output(estimates, frame, place, Path(output), overwrite)
    return estimates


def _pass(frame: Frame, place: Placed, confidence: bool, progress: Progress | None) -> tuple[Census, Helpers]:
    """One pass over the map."""
    census, helpers = Census(), Helpers(frame, place)
    for strip in frame.strips(progress, confidence=confidence, probabilities=True):
        census.add(strip, frame)
        helpers.add(strip)
    check_census(census, frame)
    return census, helpers


def _check_map(
    frame: Frame, census: Census, strata: Strata, place: Placed, helpers: Helpers, design: DesignRecord | None
) -> None:
    """Refuses points that were drawn on another map, or on other pixels of it, or that lie where it has no class.

    Raises:
        UsageError: if they were.
        DataError: if they do.
    """
    again = "draw a new sample of this map, or estimate with the map that was sampled"
    if design is not None and design["map_digest"] != census.digest(frame):
        found = f"is another map than the one that was sampled ({design['map']}): its pixels differ"
        raise UsageError(found, where=frame.map.path, fix=again)
    if design is not None:
        drawn = [each["pixels"] for each in design["strata"]]
        codes = np.array([each["map_code"] for each in design["points"]])
        if drawn != strata.pixels.tolist() or not helpers.inside.all() or (codes != helpers.codes).any():
            what = "confidence or the areas that the model learned from have changed since the sample was drawn"
            raise UsageError(f"the strata are not those of the sample: its {what}", where=frame.map.path, fix=again)
    outside = np.flatnonzero(helpers.codes == NO_CODE).tolist()
    if outside:
        found = f"points lie where the map has no class: {listed(place.ids[each] for each in outside)}"
        raise DataError(found, where=place.path, fix="remove them")


def _estimate(
    frame: Frame,
    census: Census,
    strata: Strata,
    place: Placed,
    helpers: Helpers,
    design: DesignRecord | None,
) -> AreaEstimates:
    labelled = place.is_labelled
    sample = Sample(place.stratum[labelled], helpers.area[labelled], strata.pixels, strata.areas)
    _check_labels(sample, strata, place)
    mapped_code, label_code = helpers.codes[labelled], place.codes[labelled]
    in_frame = [code for code, pixels in zip(census.codes, census.pixels.sum(axis=1), strict=True) if pixels]
    codes = sorted({*in_frame, *label_code.tolist()})
    names = [frame.map.name(code) for code in codes]
    mapped, labels = _one_hot(mapped_code, codes), _one_hot(label_code, codes)
    hectares = float(strata.areas.sum()) / HECTARE
    areas = area_shares(sample, labels).times(hectares)
    users, producers = _accuracies(sample, mapped, labels, _possible(strata, census, codes))
    little = rests_on_little(sample, labels, mapped)
    helped, helper = _helped(sample, strata, census, helpers, labelled, labels, mapped, codes)
    table = pd.DataFrame({"class": names, "code": codes, "mapped_ha": _mapped(census, codes)})
    table = table.assign(**_columns("area", areas, "_ha"))
    if helped is not None:
        table = table.assign(**_columns("assisted", helped.estimate.times(hectares), "_ha"))
        table = table.assign(tuning=helped.tuning, worth_labels=helped.worth)
    table = table.assign(
        **_columns("users", users), **_columns("producers", producers), points=labels.sum(axis=0).astype(int)
    )
    table["caution"] = np.where(little, "few points decide", "")
    right = (mapped * labels).sum(axis=1, keepdims=True)
    cells = np.einsum("nk,nl->nkl", mapped, labels).reshape(len(labels), -1)
    shares, errors = (sample.weights * sample.means(cells)).sum(axis=0), sample.standard_errors(cells)
    rows = pd.DataFrame({"name": strata.names, "pixels": strata.pixels, "hectares": strata.areas / HECTARE})
    drawn = np.bincount(place.stratum, minlength=len(strata.names))
    rows = rows.assign(points=drawn, labelled=sample.counts.astype(int))
    return AreaEstimates(
        map=frame.map.path,
        points=place.path,
        frame=census.words(frame),
        method=_method(frame, design, helper),
        hectares=hectares,
        classes=table,
        overall=_overall(sample, right, helpers, labelled, hectares),
        matrix=pd.DataFrame(shares.reshape(len(codes), -1), names, names),
        matrix_error=pd.DataFrame(errors.reshape(len(codes), -1), names, names),
        counts=pd.DataFrame((mapped.T @ labels).astype(int), names, names),
        strata=rows,
        helper=helper,
        notes=_notes(frame, census, design, place),
        cautions=_cautions(
            frame, census, place, design, [name for name, few in zip(names, little, strict=True) if few]
        ),
    )


def _check_labels(sample: Sample, strata: Strata, place: Placed) -> None:
    """Refuses strata with fewer labels than a variance takes.

    Raises:
        DataError: if there is one.
    """
    if not len(sample.stratum):
        raise DataError(
            "no point has a label", where=place.path, fix="label the points, or name the column with --label"
        )
    short = [
        f"{name} ({counted(int(count), 'label')})"
        for name, count, pixels in zip(strata.names, sample.counts, strata.pixels, strict=True)
        if count < min(2, pixels)
    ]
    if short:
        found = f"strata have too few labels for a variance: {listed(short)}"
        raise DataError(found, where=place.path, fix="label at least 2 points of each stratum")


def _one_hot(codes: npt.NDArray[np.int64], classes: list[int]) -> FloatArray:
    return np.asarray(codes[:, None] == np.array(classes), dtype=np.float64)


def _mapped(census: Census, codes: list[int]) -> list[float]:
    """Hectares of each class on the map, within the frame."""
    areas = dict(zip(census.codes, (census.areas.sum(axis=1) / HECTARE).tolist(), strict=True))
    return [areas.get(code, 0.0) for code in codes]


def _possible(strata: Strata, census: Census, codes: list[int]) -> npt.NDArray[np.bool_]:
    """(strata, classes) whether the map has a class in a stratum."""
    found = np.zeros((len(strata.names), len(codes)), dtype=bool)
    for code, held in zip(census.codes, strata.classes().T, strict=True):
        if code in codes:
            found[:, codes.index(code)] = held
    return found


def _accuracies(
    sample: Sample, mapped: FloatArray, labels: FloatArray, possible: npt.NDArray[np.bool_]
) -> tuple[Estimate, Estimate]:
    """User's and producer's accuracies."""
    elsewhere = (possible.sum(axis=1, keepdims=True) - possible) > 0
    users = ratios(sample, mapped * labels, mapped * (1 - labels), (possible, possible))
    return users, ratios(sample, mapped * labels, (1 - mapped) * labels, (possible, elsewhere))


def _helped(
    sample: Sample,
    strata: Strata,
    census: Census,
    helpers: Helpers,
    labelled: npt.NDArray[np.bool_],
    labels: FloatArray,
    mapped: FloatArray,
    codes: list[int],
) -> tuple[Assisted | None, str]:
    """The model-assisted estimate, and what helped: probabilities, or the map itself where strata are not its classes."""
    whole = strata.areas.sum()
    if helpers.bands:
        values = np.zeros((len(labels), len(codes)))
        known = np.zeros(len(codes))
        for at, code in enumerate(helpers.bands):
            if code in codes:
                values[:, codes.index(code)] = helpers.probabilities[labelled, at]
                known[codes.index(code)] = helpers.totals[at] / whole
        return assisted_shares(sample, labels, values, known), "probabilities"
    if (strata.classes().sum(axis=1) > 1).any():
        known = np.array(_mapped(census, codes)) * HECTARE / whole
        return assisted_shares(sample, labels, mapped, known), "map"
    return None, ""


def _overall(
    sample: Sample, right: FloatArray, helpers: Helpers, labelled: npt.NDArray[np.bool_], hectares: float
) -> dict[str, Any]:
    """Overall accuracy, design-based and with the help of the probability of the map's own class."""
    found: dict[str, Any] = _single(area_shares(sample, right))
    if helpers.bands:
        known = np.array([helpers.right_total / (hectares * HECTARE)])
        helped = assisted_shares(sample, right, helpers.right[labelled, None], known)
        found["assisted"] = {
            **_single(helped.estimate),
            "tuning": float(helped.tuning[0]),
            "worth_labels": float(helped.worth[0]),
        }
    return found


def _single(estimate: Estimate) -> dict[str, Any]:
    return {key: float(getattr(estimate, key)[0]) for key in ("value", "error", "low", "high")}


def _columns(name: str, estimate: Estimate, unit: str = "") -> dict[str, FloatArray]:
    return {
        f"{name}{unit}": estimate.value,
        f"{name}_error{unit}": estimate.error,
        f"{name}_low{unit}": estimate.low,
        f"{name}_high{unit}": estimate.high,
    }


def _method(frame: Frame, design: DesignRecord | None, helper: str) -> str:
    strata = {"none": "a simple random sample"}.get(design["by"] if design else "none", "a random sample")
    by = f" stratified by {design['by'].replace('-', ' and ')} of the map" if design and design["by"] != "none" else ""
    how = "treated as " if design is None else ""
    text = f"{how}{strata} of pixels{by}; labels decide the areas; {frame.areas.words}"
    words = {
        "probabilities": "; the assisted estimate also uses the map's probabilities of all pixels",
        "map": "; the assisted estimate also uses the map's classes of all pixels",
    }
    return text + words.get(helper, "")


def _notes(frame: Frame, census: Census, design: DesignRecord | None, place: Placed) -> list[str]:
    notes = ["labels are taken to be right, and of the date of the map"]
    missing = int((~place.is_labelled).sum())
    if missing:
        notes.append(
            f"{missing} of {counted(len(place.ids), 'point')} have no label; they are taken to be like the labelled ones of their "
            "stratum, which flatters the map if they are missing because they were hard to label"
        )
    if design is not None and frame.training == "excluded":
        hectares = census.left_out_area / HECTARE
        notes.append(f"{hectares:,.1f} ha where the model learned are not in these numbers")
    return notes


def _cautions(frame: Frame, census: Census, place: Placed, design: DesignRecord | None, few: list[str]) -> list[str]:
    found = [frame.map.note] if frame.map.note else []
    if design is None:
        found.append(AS_RANDOM)
    if frame.training == "included":
        found.append("points may lie where the model learned: accuracies are flattered there")
    elif not frame.knows_training:
        found.append(f"{NOT_KNOWN}: if points lie there, accuracies are flattered")
    if few:
        found.append(
            f"few points decide the area of {listed(few)}: less than six, in effect, where map and label disagree, or errors that no "
            "point happened to show; the interval of such a class need not hold in 95 % of samples, and is often wider than it need be"
        )
    return found
