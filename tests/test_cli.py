"""The command line: every command on a small dataset, and one clear message with the right exit code for what is wrong."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import rasterio

from eofuse.cli import main
from eofuse.config import write_yaml
from fake_ben_ge import write_ben_ge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 patches of 24 pixels in the ben-ge layout."""
    folder = tmp_path_factory.mktemp("cli") / "tiny"
    write_ben_ge(folder, patches=40)
    return folder


@pytest.fixture(scope="module")
def store(folder):
    path = folder.with_suffix(".store")
    assert main(["pack", str(folder), str(path), "--workers", "1"]) == 0
    return path


def tiny(store, folder):
    """A small recipe, in a file in this folder."""
    values = {
        "name": "tiny",
        "data": {"store": str(store)},
        "inputs": ["s1", "s2"],
        "split": {"protocol": "random"},
        "task": {"target": "clc19"},
        "fusion": {"encoder": "test_resnet"},
        "train": {"steps": 4, "batch_size": 8, "evaluations": 2},
    }
    path = folder / "recipe.yaml"
    path.write_text(write_yaml(values))
    return path


@pytest.fixture
def recipe(store, tmp_path):
    return tiny(store, tmp_path)


@pytest.fixture(scope="module")
def done(store, tmp_path_factory):
    """A trained run, which is left as it is."""
    folder = tmp_path_factory.mktemp("done")
    assert main(["train", str(tiny(store, folder)), "--to", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def run(done, tmp_path):
    """That run in a folder of the test's own."""
    return shutil.copytree(done, tmp_path / "run")


def fails(capsys, code, *words):
    """The command ends with this exit code and one line on the error stream; gives the line."""
    assert main([str(word) for word in words]) == code
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    assert len(error.splitlines()) == 1
    return error


def test_check_of_a_good_folder_finds_no_error(folder, capsys):
    assert main(["check", str(folder), "--workers", "1"]) == 0
    assert "0 errors" in capsys.readouterr().out


def test_check_of_a_good_store_finds_no_error(store, capsys):
    assert main(["check", str(store)]) == 0
    assert "0 errors" in capsys.readouterr().out


def test_check_tells_a_broken_band_and_ends_with_1(tmp_path, capsys):
    write_ben_ge(tmp_path / "tiny", patches=6)
    band = next((tmp_path / "tiny").glob("sentinel-2/*/*_B05.tif"))
    band.write_bytes(band.read_bytes()[:100])
    assert main(["check", str(tmp_path / "tiny"), "--workers", "1"]) == 1
    assert band.name in capsys.readouterr().out.replace("\n", "")


def test_check_of_a_store_finds_a_flipped_bit(tmp_path, capsys):
    write_ben_ge(tmp_path / "tiny", patches=6)
    assert main(["pack", str(tmp_path / "tiny"), str(tmp_path / "tiny.store"), "--workers", "1"]) == 0
    shard = tmp_path / "tiny.store" / "s2" / "00000.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert main(["check", str(tmp_path / "tiny.store")]) == 1
    assert "s2/00000.npy" in capsys.readouterr().out


def test_describe_writes_a_data_card(store, tmp_path, capsys):
    part, page = str(tmp_path / "part.store"), tmp_path / "card.html"
    assert main(["subset", str(store), "-o", part, "--modalities", "season"]) == 0
    assert main(["describe", part, "--html", str(page), "--split", "random", "--target", "clc43"]) == 0
    assert "Labels: clc43" in page.read_text()
    capsys.readouterr()
    assert "add --html FILE" in fails(capsys, 2, "describe", part, "--target", "clc19")


def test_stores_are_cut_down_merged_and_appended_to(store, tmp_path, capsys):
    some = list(pd.read_parquet(store / "index.parquet")["patch_id"][:4])
    (tmp_path / "ids.txt").write_text("\n".join(some))
    first, rest, both = (str(tmp_path / name) for name in ("first.store", "rest.store", "both.store"))
    others = f"patch_id!={','.join(some)}"
    assert main(["subset", str(store), "-o", first, "--ids", str(tmp_path / "ids.txt"), "--modalities", "s1,s2"]) == 0
    assert main(["subset", str(store), "-o", rest, "--where", others, "--where", "has_s1=true", "-n", "6"]) == 0
    assert main(["merge", first, rest, "-o", both]) == 0
    assert main(["append", first, rest]) == 0
    assert main(["append", first, rest, "--skip-identical"]) == 0
    assert main(["append", first, rest]) == 0  # what was appended last is there
    assert capsys.readouterr().out.count(": 10 patches, s2, s1") == 4
    assert "both hold the patch" in fails(capsys, 1, "append", first, both)
    assert main(["check", first]) == 0


def test_describe_tells_modalities_classes_and_leakage(store, capsys):
    assert main(["describe", str(store)]) == 0
    told = capsys.readouterr().out
    for word in ("40 patches", "worldcover", "B8A", "clc19", "How leaky each split protocol is", "random"):
        assert word in told


def test_show_draws_a_patch(store, tmp_path, capsys):
    patch_id = pd.read_parquet(store / "index.parquet")["patch_id"][3]
    assert main(["show", str(store), patch_id, "-o", str(tmp_path / "patch.png")]) == 0
    assert (tmp_path / "patch.png").read_bytes().startswith(b"\x89PNG")


def test_show_draws_several_patches_some_of_each_class(store, tmp_path, capsys):
    picture = tmp_path / "grid.png"
    assert main(["show", str(store), "--grid", "6", "--by", "dominant_land_cover", "-o", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "needs PATCH_ID or --grid N" in fails(capsys, 2, "show", store)
    assert "--by and --modality are for several patches" in fails(capsys, 2, "show", store, "S2A", "--by", "season")


def test_show_draws_what_augmentation_makes_of_a_patch(store, tmp_path):
    patch_id = pd.read_parquet(store / "index.parquet")["patch_id"][3]

    def drawn(preset: str, seed: int) -> bytes:
        words = ["--augment", preset, "--seed", str(seed), "-o", str(tmp_path / "patch.png")]
        assert main(["show", str(store), patch_id, *words]) == 0
        return (tmp_path / "patch.png").read_bytes()

    first = drawn("strong", 0)
    assert first.startswith(b"\x89PNG")
    assert drawn("strong", 1) != first


def test_train_tells_scores_and_where_the_run_is(recipe, tmp_path, capsys):
    assert main(["train", str(recipe), "seed=1", "--to", str(tmp_path / "run"), "train.steps=2"]) == 0
    assert re.search(r"mAP \d\.\d{3} on validation .*, \d\.\d{3} on test", capsys.readouterr().out)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 2


@pytest.mark.parametrize("command", ["train", "pretrain", "study"])
def test_a_launcher_that_does_not_say_which_process_this_is_is_refused_before_anything_is_written(
    recipe, tmp_path, capsys, monkeypatch, command
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([command, str(recipe), "--to", str(tmp_path / "run")]) == 2
    assert "a launcher began 2 processes and does not say which one this is (RANK, " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_launcher_that_does_not_say_which_process_this_is_does_not_go_on_with_a_run(run, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["resume", str(run)]) == 2
    assert "a launcher began 2" in capsys.readouterr().err


def test_a_study_is_refused_to_processes_of_a_launcher(recipe, tmp_path, capsys, monkeypatch):
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["study", str(recipe), "--to", str(tmp_path / "study")]) == 2
    assert "a study begins its processes itself, and a launcher began 2; start it without" in capsys.readouterr().err


def test_resume_of_a_finished_run_reads_it(run, capsys):
    assert main(["resume", str(run)]) == 0
    assert "on validation" in capsys.readouterr().out


def test_evaluate_tells_intervals(run, capsys):
    assert main(["evaluate", str(run)]) == 0
    assert "constant" in capsys.readouterr().out
    assert (run / "evaluation.csv").exists()


def result(capsys, *words):
    """What a command prints as JSON."""
    assert main([str(word) for word in words] + ["--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_results_of_data_are_json_for_programs(folder, store, capsys):
    assert result(capsys, "check", folder, "--workers", 1)["errors"] == 0
    found = result(capsys, "describe", store)
    assert (found["patches"], found["patch_size"], found["simulated"]) == (40, [24, 24], False)
    assert {row["modality"] for row in found["modalities"]} >= {"s1", "s2"}


def test_problems_are_json_for_programs(tmp_path, capsys):
    write_ben_ge(tmp_path / "tiny", patches=6)
    next((tmp_path / "tiny").glob("sentinel-2/*/*_B05.tif")).unlink()
    assert main(["check", str(tmp_path / "tiny"), "--workers", "1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["errors"] == len(found["problems"]) == 1
    assert "_B05.tif" in found["problems"][0]["where"]


def test_results_of_models_are_json_for_programs(run, store, tmp_path, capsys):
    scores = result(capsys, "evaluate", run)
    assert {row["predictor"] for row in scores["scores"]} == {"run", "constant"}
    done = result(capsys, "predict", run, store, "-o", tmp_path / "table.csv")
    assert (done["patches"], done["predicted"], done["maps"]) == (40, 40, None)
    assert "were used in training or validation" in done["notes"][0]


def test_help_lists_every_command_in_its_group(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    groups = capsys.readouterr().out.split("\n\n")[-5:]
    titles = [group.splitlines()[0] for group in groups]
    assert titles == ["data:", "models:", "maps:", "studies:", "shell:"]
    for number, name in enumerate(("pack", "train", "area", "study", "completion")):
        assert [f"  {name} " in group for group in groups] == [at == number for at in range(5)]


def test_verbose_shows_what_a_command_took_and_where_an_error_arose(tmp_path, store, capsys):
    assert main(["describe", str(store), "-v"]) == 0
    assert re.search(r"took \d+\.\d s", capsys.readouterr().err)
    assert main(["pack", str(tmp_path / "none"), str(tmp_path / "none.store"), "-v"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "eofuse: Traceback (most recent call last):"
    assert "no such folder" in lines[-1]


@pytest.mark.parametrize("name", ["predictions.parquet", "predictions.csv"])
def test_predict_writes_a_row_a_patch(run, store, tmp_path, name):
    assert main(["predict", str(run), str(store), "-o", str(tmp_path / name)]) == 0
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    table = read(tmp_path / name)
    assert len(table) == 40
    assert table["predicted"].all()


def test_predict_works_on_patches_without_labels_and_tells_missing_inputs(run, tmp_path, capsys):
    write_ben_ge(tmp_path / "new", patches=6, absent={"s1": [2]})
    for file in (tmp_path / "new").rglob("*_labels_metadata.json"):
        file.unlink()
    assert main(["pack", str(tmp_path / "new"), str(tmp_path / "new.store"), "--workers", "1"]) == 0
    assert main(["predict", str(run), str(tmp_path / "new.store"), "-o", str(tmp_path / "p.parquet")]) == 0
    assert "1 of 6 patches lack an input" in capsys.readouterr().out
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert table["predicted"].tolist() == [True, True, False, True, True, True]
    assert table["clc19.confidence"].isna().tolist() == [False, False, True, False, False, False]


def test_study_tells_leaderboard_and_report_and_report_writes_it_again(recipe, tmp_path, capsys):
    axes = {
        "baseline": "a",
        "seeds": [0],
        "replicates": 100,
        "search": {"learning_rates": [0.001]},
        "variants": {"a": {"inputs": ["s2"], "fusion": {"strategy": "single"}}, "b": {}},
    }
    recipe.write_text(recipe.read_text() + write_yaml({"study": axes}))
    assert main(["study", str(recipe), "--to", str(tmp_path / "study"), "--workers", "1"]) == 0
    told = capsys.readouterr().out
    assert "prove nothing" in told
    report = tmp_path / "study" / "report.html"
    assert f"report: {report}" in told
    report.unlink()
    assert main(["report", str(tmp_path / "study")]) == 0
    assert report.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepps=3", "did you mean 'steps'"),
        ("fusion.strategy=erly", "did you mean 'early'"),
        ("fusion.encoder=resnet1", "resnet"),
        ("inputs=[s1,s4]", "unknown modality 's4'"),
        ("task.target=clc_19", "did you mean 'clc19'"),
        ("train.steps=0", "train.steps"),
        ("seed", "write key=value"),
        ("data.store=nowhere", "no such store"),
        ("train.device=cuda", "no CUDA device"),
        ("train.batch_size=1", "greater than or equal to 2"),
        ("seed=99999999999", "less than"),
        ("task=clc19", "must be a section of keys"),
        ("task.target=patch_id", "different values"),
        ("inputs={s2: [B04, B4]}", "named twice"),
        ("split.protocol=tutorial", "800 patches"),
    ],
)
def test_misuse_of_a_recipe_is_one_clear_line(recipe, tmp_path, capsys, override, message):
    assert message in fails(capsys, 2, "train", recipe, override, "--to", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_duplicate_key_in_a_recipe_is_misuse(recipe, capsys):
    recipe.write_text(recipe.read_text() + "name: again\n")
    assert "duplicate key 'name'" in fails(capsys, 2, "train", recipe)


@pytest.mark.parametrize(
    "words",
    [["train", "none.yaml"], ["resume", "none"], ["evaluate", "none"], ["report", "none"], ["download", "ben-ge-80"]],
)
def test_what_does_not_exist_is_misuse(words, capsys):
    fails(capsys, 2, *words)


@pytest.mark.parametrize("command", ["describe", "check"])
def test_a_folder_that_is_neither_dataset_nor_store_is_bad_data(tmp_path, capsys, command):
    fails(capsys, 1, command, tmp_path)


def test_an_unknown_command_names_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["shwo"])
    assert ended.value.code == 2
    assert "there is no 'shwo'; did you mean 'show'?" in capsys.readouterr().err


def test_an_unknown_patch_names_the_nearest(store, tmp_path, capsys):
    assert "did you mean" in fails(capsys, 2, "show", store, "S2A_MSIL2A_2017", "-o", tmp_path / "p.png")


def spoil_band(folder):
    next(folder.glob("sentinel-2/*/*_B05.tif")).unlink()


def spoil_tiff(folder):
    next(folder.glob("sentinel-1/*/*_VV.tif")).write_text("this is no TIFF")


def spoil_shape(folder):
    path = next(folder.glob("dem/*.tif"))
    with rasterio.open(path) as file:
        profile, values = file.profile, file.read()
    with rasterio.open(path, "w", **{**profile, "height": 5}) as file:
        file.write(values[:, :5])


def spoil_nan(folder):
    path = next(folder.glob("sentinel-1/*/*_VH.tif"))
    with rasterio.open(path, "r+") as file:
        values = file.read(1)
        values[3, 4] = np.nan
        file.write(values, 1)


def spoil_id(folder):
    table = next(folder.glob("*_meta.csv"))
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[1]]) + "\n")


@pytest.mark.parametrize("spoil", [spoil_band, spoil_tiff, spoil_shape, spoil_nan, spoil_id])
def test_bad_data_stops_packing_with_one_line_and_leaves_no_store(tmp_path, capsys, spoil):
    write_ben_ge(tmp_path / "tiny", patches=6)
    spoil(tmp_path / "tiny")
    fails(capsys, 1, "pack", tmp_path / "tiny", tmp_path / "tiny.store", "--workers", "1")
    assert not (tmp_path / "tiny.store").exists()


@pytest.mark.parametrize("spoil", [spoil_band, spoil_tiff, spoil_shape, spoil_nan])
def test_skip_bad_sets_the_patch_aside_in_a_list(tmp_path, capsys, spoil):
    write_ben_ge(tmp_path / "tiny", patches=6)
    spoil(tmp_path / "tiny")
    assert main(["pack", str(tmp_path / "tiny"), str(tmp_path / "tiny.store"), "--workers", "1", "--skip-bad"]) == 0
    told = capsys.readouterr().out
    assert "5 patches" in told
    assert "1 bad patch was set aside" in told
    assert len(pd.read_csv(tmp_path / "tiny.store" / "set_aside.csv")) == 1


@pytest.mark.parametrize("words", [["describe", "a.store", "b.store"], ["train", "a.yaml", "--stroe", "b"]])
def test_words_too_many_are_misuse(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_no_command_is_misuse(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2


def test_the_installed_command_answers():
    done = subprocess.run([sys.executable, "-m", "eofuse.cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("eofuse ")


def test_real_patches_are_checked_packed_described_and_shown(ben_real_40, tmp_path, capsys):
    store = tmp_path / "real.store"
    assert main(["check", str(ben_real_40)]) == 0
    assert main(["pack", str(ben_real_40), str(store)]) == 0
    assert main(["describe", str(store)]) == 0
    assert "40 patches of 120 × 120 pixels" in capsys.readouterr().out
    patch_id = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_27_55"
    assert main(["show", str(store), patch_id, "-o", str(tmp_path / "patch.png")]) == 0
    assert (tmp_path / "patch.png").stat().st_size > 50_000
