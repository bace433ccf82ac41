"""Patch ids say scene, tile, column, row and time, however odd their time fields; dates say the season."""

import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eofuse.data.sources.ben_ge.clc import CLC19, CLC43, GROUP_OF, group_labels
from eofuse.data.sources.ben_ge.identifiers import (
    is_s1_scene,
    is_s2_scene,
    parse_patch_id,
    parse_patch_id_s1,
    season_of,
)


def test_a_v1_id_says_scene_time_column_and_row():
    name = parse_patch_id("S2A_MSIL2A_20170613T101031_39_24")
    assert name.scene == "S2A_20170613T101031"
    assert name.time == "2017-06-13T10:10:31"
    assert (name.tile, name.column, name.row) == (None, 39, 24)


def test_a_v2_id_also_says_the_tile():
    name = parse_patch_id("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_38_90")
    assert name.scene == "S2A_20170613T101031"
    assert (name.tile, name.column, name.row) == ("33UUP", 38, 90)


def test_a_sentinel1_id_says_tile_and_time():
    name = parse_patch_id_s1("S1B_IW_GRDH_1SDV_20170612T165809_33UUP_37_89")
    assert name.time == "2017-06-12T16:58:09"
    assert (name.tile, name.column, name.row) == ("33UUP", 37, 89)


@pytest.mark.parametrize(
    ("patch_id", "scene"),
    [
        ("S2B_MSIL2A_20180204T94161_57_38", "S2B_20180204T094159"),
        ("S2B_MSIL2A_20180204T94160_57_38", "S2B_20180204T094159"),
        ("S2B_MSIL2A_20180204T094159_57_38", "S2B_20180204T094159"),
        ("S2B_MSIL2A_20170924T93020_69_24", "S2B_20170924T093019"),
        ("S2A_MSIL2A_20180413T95032_90_7", "S2A_20180413T095031"),
        ("S2A_MSIL2A_20171002T112112_49_25", "S2A_20171002T112111"),
        ("S2B_MSIL2A_20180421T100031_1_1", "S2B_20180421T100029"),
        ("S2B_MSIL2A_20170817T101019_71_30", "S2B_20170817T101019"),
    ],
)
def test_products_of_one_pass_share_a_scene_though_their_time_fields_differ(patch_id, scene):
    assert parse_patch_id(patch_id).scene == scene


def test_seconds_of_sixty_or_more_do_not_fail():
    assert parse_patch_id("S2C_MSIL2A_20180204T94161_57_38").time == "2018-02-04T09:42:01"


def test_a_day_that_does_not_exist_has_no_time_but_a_scene():
    name = parse_patch_id("S2A_MSIL2A_20171345T101031_1_2")
    assert name.time is None
    assert name.scene == "S2A_20171345T101031"


@pytest.mark.parametrize(
    "text", ["", "patch_1", "S2A_MSIL2A_20170613T101031", "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_37_89"]
)
def test_what_is_no_patch_id_is_none(text):
    assert parse_patch_id(text) is None


def test_scene_folders_are_told_from_patch_folders():
    assert is_s2_scene("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP")
    assert not is_s2_scene("S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_38_90")
    assert is_s1_scene("S1A_IW_GRDH_1SDV_20170613T165043")
    assert not is_s1_scene("S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_39")


@given(
    mission=st.sampled_from(["S2A", "S2B", "S2C"]),
    clock=st.integers(0, 999999),
    column=st.integers(0, 90),
    row=st.integers(0, 90),
    tile=st.sampled_from([None, "33UUP"]),
)
def test_any_time_field_parses_and_the_scene_has_one_form(mission, clock, column, row, tile):
    middle = f"_N9999_R022_T{tile}" if tile else ""
    name = parse_patch_id(f"{mission}_MSIL2A_20170613T{clock}{middle}_{column}_{row}")
    assert re.fullmatch(r"S2[ABC]_20170613T\d{6}", name.scene)
    assert 0 <= clock - int(name.scene[-6:]) <= 5
    assert (name.column, name.row, name.tile) == (column, row, tile)


def test_every_published_id_parses_and_the_scenes_are_passes(shared):
    names = (shared / "realdata/ben-index/ben-ge-splits/ben-ge-8k.csv").read_text().split()
    parsed = [parse_patch_id(name) for name in names]
    assert len(parsed) == 8000
    assert all(name.time is not None for name in parsed)
    last_digits = {name.scene[:3] + name.scene[-1] for name in parsed}
    assert last_digits == {"S2A1", "S2B9"}


@pytest.mark.parametrize(
    ("day", "season"),
    [("2017-06-17", 0.99935), ("2017-09-24", 0.68913), ("2017-12-21", 0.00699), ("2018-02-04", 0.36662)],
)
def test_the_season_formula_gives_published_values(day, season):
    assert season_of(date.fromisoformat(day)) == pytest.approx(season, abs=6e-6)


def test_the_nomenclature_has_43_names_19_groups_and_11_dropped():
    assert len(CLC43) == len(set(CLC43)) == 43
    assert len(CLC19) == 19
    assert list(GROUP_OF.values()).count(None) == 11


def test_labels_are_grouped_in_the_usual_order():
    assert group_labels(["Sea and ocean", "Estuaries", "Airports", "Rice fields"]) == ["Arable land", "Marine waters"]


def test_a_patch_with_dropped_classes_only_has_no_label_of_the_19():
    assert group_labels(["Bare rock", "Burnt areas"]) == []
