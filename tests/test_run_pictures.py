"""Pictures of a run: its course with the best step, its confusions, test patches that it got right and wrong."""

import json

import pytest

from eofuse.errors import UsageError
from eofuse.pictures import confusion_of_run, curves_of_run, examples_of_run, show_run
from eofuse.reports.figures.patch_grid import show_grid


def words(figure) -> str:
    from matplotlib.text import Text

    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_a_run_gets_its_pictures_in_its_folder_or_another(trained, tmp_path):
    inside, elsewhere = show_run(trained.folder), show_run(trained.folder, tmp_path / "pictures")
    assert [path.name for path in inside.paths] == ["curves.png", "confusion.png", "examples.png"]
    assert not inside.notes
    for one, other in zip(inside.paths, elsewhere.paths, strict=True):
        assert one.parent == trained.folder
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"\x89PNG")


def test_the_curves_show_training_beside_validation_and_mark_the_best_step(trained):
    figure = curves_of_run(trained)
    loss, metric = figure.axes
    assert f"best on validation: step {trained.result['best_step']}" in words(figure)
    assert (loss.get_title(loc="left"), metric.get_title(loc="left")) == ("label: loss", "label: macro F1")
    for axes in (loss, metric):
        drawn = [line for line in axes.lines if len(line.get_xdata()) > 2]
        assert len({line.get_color() for line in drawn}) == 2


def test_the_confusions_are_those_of_the_test_patches(trained):
    share = 100 * trained.test["label"]["accuracy"]
    assert f"{share:.0f} % of {len(trained.predictions())} test patches right" in words(confusion_of_run(trained))


def test_examples_say_what_is_predicted_of_which_patch(trained):
    drawn = words(examples_of_run(trained, most=2))
    assert "Most confidently right" in drawn
    assert drawn.count("Predicted: ") >= 2


def test_without_its_store_a_run_has_the_other_pictures_and_says_why(trained, tmp_path):
    file = trained.folder / "data.json"
    facts = json.loads(file.read_text())
    facts = {name: value for name, value in facts.items() if name != "digest"}
    file.write_text(json.dumps({**facts, "store_path": str(tmp_path / "gone.store")}))
    done = show_run(trained.folder, tmp_path)
    assert [path.name for path in done.paths] == ["curves.png", "confusion.png"]
    assert "gone.store" in done.notes[0]


@pytest.mark.parametrize(("count", "shown"), [(5, 5), (1, 2)])
def test_a_grid_by_class_shows_as_many_of_each_and_one_at_least(planted_store, count, shown):
    figure = show_grid(planted_store, count, by="label")
    assert len([axes for axes in figure.axes if axes.images]) == shown
    labels = planted_store.index["label"].value_counts()
    assert f"({labels.iloc[0]})" in words(figure)


def test_the_seed_of_a_grid_draws_the_patches(planted_store, tmp_path):
    first = words(show_grid(planted_store, 6, seed=0, path=tmp_path / "grid.png"))
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert words(show_grid(planted_store, 6, seed=0)) == first
    assert words(show_grid(planted_store, 6, seed=1)) != first


def test_a_grid_of_numbers_goes_from_low_to_high(planted_store):
    drawn = words(show_grid(planted_store, 10, by="lat"))
    assert drawn.count("47.") >= 20


def test_a_grid_needs_a_raster_and_a_target_that_are_there(planted_store):
    with pytest.raises(UsageError, match="season"):
        show_grid(planted_store, modality="season")
    with pytest.raises(UsageError, match="labl"):
        show_grid(planted_store, by="labl")
