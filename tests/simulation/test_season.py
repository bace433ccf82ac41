"""The simulated season: beside a ben-ge that stays what it is, dates of each scene, some missing by cloud, crops apart in time."""

import hashlib

import numpy as np
import pytest

from eofuse.data.store.pack import pack
from eofuse.errors import UsageError
from eofuse.simulation import simulate
from eofuse.simulation.season import FOLDERS, PEAKS, SPEC, TABLE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("season") / "tiny", 30, seed=3, workers=1, season=6)


@pytest.fixture(scope="module")
def store(folder):
    return pack(folder / SPEC, folder.with_name("season.store"), workers=1)


def contents(folder):
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def test_a_season_changes_nothing_else_and_is_fixed_by_its_seed(folder, tmp_path):
    with_season = contents(folder)
    again = contents(simulate(tmp_path / "again" / "tiny", 30, seed=3, workers=1, season=6))
    assert again == with_season
    own = {name for name in with_season if name.split("/")[0] in (*FOLDERS, TABLE, SPEC, "simulation.json")}
    without = contents(simulate(tmp_path / "without" / "tiny", 30, seed=3, workers=1))
    assert {name: with_season[name] for name in with_season.keys() - own} == {
        name: digest for name, digest in without.items() if name != "simulation.json"
    }


def test_it_packs_with_its_crops_as_simulated(store):
    assert store.simulated
    assert store.modality("s2_season").kind == "image_series"
    assert set(store.index["crop"]) <= set(PEAKS)
    assert store.modality("s2_summer").kind == "raster"


def test_dates_are_those_of_the_scene_but_for_clouds(store):
    days = store.index.groupby("scene")["times.s2_season"].apply(lambda lists: sorted(set(np.concatenate(list(lists)))))
    assert (days.map(len) <= 6).all()
    assert len({tuple(each) for each in days}) == len(days)
    counts = store.index["times.s2_season"].map(len)
    assert counts.min() < 6
    hidden = np.concatenate([(store[row]["s2_season"] == 0).all(1).mean((1, 2)) for row in range(len(store))])
    assert 0 < hidden.max() <= 0.5


def test_early_crops_are_greener_in_spring_than_in_autumn_and_late_ones_are_not(store):
    found = {crop: [] for crop in PEAKS}
    for row, crop in enumerate(store.index["crop"]):
        images, times = store[row]["s2_season"].astype(float), store[row]["s2_season.times"]
        index = (images[:, 1] - images[:, 0]) / np.maximum(images[:, 1] + images[:, 0], 1)
        green = np.array([each[visible].mean() for each, visible in zip(index, images[:, 0] > 0, strict=True)])
        day = times % 365.2425
        spring, autumn = green[(day > 95) & (day < 155)], green[(day > 195) & (day < 255)]
        if len(spring) and len(autumn):
            found[crop].append(spring.mean() - autumn.mean())
    assert np.median(found["spring"]) > np.median(found["autumn"]) + 0.1


def test_a_number_of_dates_that_makes_no_sense_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="a season of 99 dates"):
        simulate(tmp_path / "new", 2, season=99)
