"""The check reads everything, says all that is wrong or odd, and goes on after an error."""

import numpy as np
import pytest
import rasterio

from eofuse.data.check import check_samples
from eofuse.data.problems import Problem, errors_first, problem_lines
from eofuse.data.sources.ben_ge.source import open_ben_ge
from eofuse.errors import DataError
from fake_ben_ge import edit_table, write_ben_ge


def check(folder, **options):
    return check_samples(open_ben_ge(folder), **options)


def change(path, function, **profile):
    with rasterio.open(path) as dataset:
        values, old = dataset.read(), dataset.profile
    with rasterio.open(path, "w", **{**old, **profile}) as dataset:
        dataset.write(function(values))


def first(folder, pattern):
    return sorted(folder.glob(pattern))[0]


def test_a_good_dataset_has_no_problem(pristine):
    assert check(pristine) == []


def test_forty_real_patches_have_no_error(ben_real_40):
    assert [str(p) for p in check(ben_real_40) if p.severity == "error"] == []


def test_every_bad_patch_is_found_not_only_the_first(folder):
    for number, path in enumerate(sorted(folder.glob("sentinel-2/*/*_B05.tif"))):
        if number != 2:
            path.unlink()
    found = check(folder)
    assert len(found) == 3
    assert all(p.severity == "error" and p.patch_id and "B05" in p.where and p.fix for p in found)


def test_every_bad_band_of_a_patch_is_found(folder):
    patch = first(folder, "sentinel-2/*")
    for band in ("B01", "B02", "B09"):
        (patch / f"{patch.name}_{band}.tif").unlink()
    change(folder / "esaworldcover" / f"{patch.name}_esaworldcover.tif", lambda values: values * 0 + 33)
    found = check(folder)
    assert {p.patch_id for p in found} == {patch.name}
    assert [next(band for band in ("B01", "B02", "B09", "worldcover") if band in p.where) for p in found] == [
        "B02",
        "B01",
        "B09",
        "worldcover",
    ]


def test_a_dataset_without_any_readable_raster_is_checked_to_the_end(folder):
    for path in folder.rglob("*.tif"):
        path.write_bytes(b"")
    found = check(folder)
    assert len(found) == 4 * 16
    assert len({p.where for p in found}) == len(found)


def test_problems_of_tables_come_along(folder):
    (folder / "splits/ben-ge-800_train.csv").write_text("")
    edit_table(folder / "ben-ge-800_meta.csv", lambda rows: rows.assign(season_s2="0.5"))
    found = check(folder)
    assert [p.severity for p in found] == ["error", *["warning"] * 4]
    assert "does not fit the date" in found[1].what


def test_errors_come_before_warnings(folder):
    change(first(folder, "sentinel-2/*/*_B08.tif"), lambda values: values * 0 + 5)
    sorted(folder.glob("sentinel-2/*/*_B08.tif"))[-1].unlink()
    assert [p.severity for p in check(folder)] == ["error", "warning"]


def test_a_constant_band_is_a_warning(folder):
    change(first(folder, "sentinel-2/*/*_B08.tif"), lambda values: values * 0 + 5)
    (found,) = check(folder)
    assert (found.severity, found.what, found.where) == ("warning", "every pixel is 5", "s2, band B08")


@pytest.mark.parametrize(("zero_rows", "severity"), [(1, "error"), (20, "error"), (24, "warning")])
def test_a_block_of_zeros_in_one_optical_band_is_no_data(folder, zero_rows, severity):
    mask = (np.arange(24) >= zero_rows).astype(np.uint16)[:, None]
    change(first(folder, "sentinel-2/*/*_B03.tif"), lambda values: values * mask)
    assert {problem.severity for problem in check(folder)} == {severity}


@pytest.mark.parametrize("decibel", [-75, 31])
def test_backscatter_outside_the_plausible_range_is_a_warning(folder, decibel):
    def put(values):
        values[0, 0, 0] = decibel
        return values

    change(first(folder, "sentinel-1/*/*_VV.tif"), put)
    (found,) = check(folder)
    assert "expected -60 to 20 dB" in found.what
    assert found.where == "s1, band VV"


def test_linear_backscatter_is_a_warning(folder):
    change(first(folder, "sentinel-1/*/*_VV.tif"), lambda values: 10 ** (values / 10) * 1000)
    assert "expected -60 to 20 dB" in check(folder)[0].what


def test_an_impossible_height_is_a_warning(folder):
    change(first(folder, "dem/*.tif"), lambda values: values * 0 + 9000)
    (found,) = check(folder)
    assert "expected -430 to 8850 m" in found.what


def test_a_flat_sea_is_no_problem(folder):
    change(first(folder, "dem/*.tif"), lambda values: values * 0)
    assert check(folder) == []


def test_a_raster_on_another_corner_is_a_warning(folder):
    path = first(folder, "dem/*.tif")
    with rasterio.open(path) as dataset:
        old = dataset.transform
    change(path, lambda values: values, transform=rasterio.Affine(10, 0, old.c + 30, 0, -10, old.f))
    (found,) = check(folder)
    assert (found.severity, found.where) == ("warning", "elevation")
    assert "30 m east" in found.what


def test_fractions_that_are_not_those_of_the_map_are_a_warning(folder):
    edit_table(folder / "ben-ge-800_esaworldcover.csv", lambda rows: rows.assign(tree_cover="0.987"))
    found = check(folder)
    assert len(found) == 4
    assert all("the table says 0.987 tree_cover" in p.what for p in found)


def test_patches_without_a_modality_are_counted_in_one_warning(tmp_path):
    write_ben_ge(tmp_path, patches=4, absent={"worldcover": [0, 2], "weather": [1]})
    found = check(tmp_path)
    assert [(p.where, p.what) for p in found] == [
        ("worldcover", "2 of 4 patches lack this modality"),
        ("weather", "1 of 4 patches lack this modality"),
    ]


def test_progress_ends_with_all_patches(pristine):
    calls = []
    check(pristine, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (4, 4)


def test_several_workers_find_the_same(tmp_path):
    write_ben_ge(tmp_path, patches=40, modalities=["s1", "elevation"])
    for path in sorted(tmp_path.glob("sentinel-1/*/*_VH.tif"))[::7]:
        path.unlink()
    one = check(tmp_path)
    assert len(one) == 6
    assert check(tmp_path, workers=2) == one


def test_a_problem_reads_as_one_line():
    problem = Problem.from_error(DataError("file missing", where="patch a, band B01, x.tif", fix="restore it"), "a")
    assert str(problem) == "error: patch a, band B01, x.tif: file missing; restore it"
    assert str(Problem("warning", "odd", "meta.csv", "b")) == "warning: patch b: meta.csv: odd"


def test_sorting_keeps_the_order_within_a_severity():
    problems = [Problem(s, w, "") for s, w in [("warning", "1"), ("error", "2"), ("warning", "3"), ("error", "4")]]
    assert [problem.what for problem in errors_first(problems)] == ["2", "4", "1", "3"]


def test_many_problems_alike_are_one_line_with_their_number_and_the_first_patches():
    empty = [Problem("warning", "holds no value", "s2, band B08", f"p{number}", "leave it out") for number in range(5)]
    odd = [
        Problem("warning", f"-{number}.5 to 3 dB, expected -60 to 20 dB", "s1, band VV", f"p{number}")
        for number in range(4)
    ]
    files = [Problem("error", "is truncated", f"/data/p{number}/B02.tif", f"p{number}") for number in range(4)]
    lines = [line for _, line in problem_lines([*empty, *odd, *files])]
    assert lines == [
        "error: /data/p0/B02.tif: is truncated, in 4 patches: p0, p1, p2, …",
        "warning: s2, band B08: holds no value, in 5 patches: p0, p1, p2, …; leave it out",
        "warning: s1, band VV: -0.5 to 3 dB, expected -60 to 20 dB (of the first), in 4 patches: p0, p1, p2, …",
    ]


def test_problems_alike_in_rows_of_a_table_are_one_line():
    rows = [Problem("error", f"holds '{n}/2/2024'", f"t.csv, row {n}", f"p{n}", "write it anew") for n in range(1, 6)]
    told = "error: t.csv, row 1: holds '1/2/2024' (of the first), in 5 patches: p1, p2, p3, …; write it anew"
    assert [line for _, line in problem_lines(rows)] == [told]


def test_few_problems_and_those_of_the_whole_dataset_stay_as_they_are():
    problems = [Problem("warning", f"{number} rows lack a place", "table.csv") for number in range(5)]
    problems += [Problem("warning", "holds no value", "s2, band B08", f"p{number}") for number in range(3)]
    assert [line for _, line in problem_lines(problems)] == [str(problem) for problem in problems]
