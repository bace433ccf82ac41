"""Commands about models: runs, what they predict, and studies."""

import argparse
from typing import TYPE_CHECKING

from eofuse import ranks
from eofuse.cli.output import carry_out, show, show_json
from eofuse.errors import UsageError
from eofuse.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eofuse.learning.pretraining.run import PretrainedRun
    from eofuse.learning.run import Run


def run_train(arguments: argparse.Namespace) -> None:
    """Does `eofuse train`."""
    from eofuse.recipe import train

    run = carry_out(train, arguments, "training", "steps")
    if ranks.speaks():
        _tell(run)


def run_pretrain(arguments: argparse.Namespace) -> None:
    """Does `eofuse pretrain`."""
    from eofuse.recipe import pretrain

    run = carry_out(pretrain, arguments, "pretraining", "steps")
    if ranks.speaks():
        _tell_pretraining(run)


def _tell_pretraining(run: "PretrainedRun") -> None:
    from eofuse.learning.run import MODEL_FOLDER

    for note in run.notes():
        show(f"note: {note}")
    before, after = run.result["before"], run.result["after"]
    show(", ".join(f"{name.replace('_', ' ')} {before[name]:.3f} → {value:.3f}" for name, value in after.items()))
    show(f"{run.folder / MODEL_FOLDER}: weights after {run.result['steps']} steps of {run.result['method']}")


def run_resume(arguments: argparse.Namespace) -> None:
    """Does `eofuse resume`."""
    from eofuse.learning.run import Run
    from eofuse.recipe import resume

    run = carry_out(resume, arguments, "training", "steps")
    if not ranks.speaks():
        return
    if isinstance(run, Run):
        _tell(run)
    else:
        _tell_pretraining(run)


def _tell(run: "Run") -> None:
    from eofuse.terminal import console, transfer_table

    assert run.test is not None
    if (started := run.transfer()) is not None:
        console().print(transfer_table(started))
    for warning in run.notes():
        show(f"note: {warning}")
    for found in run.result["targets"]:
        target, metric, unit = found["target"], found["metric"], f" {found['unit']}" if found["unit"] else ""
        validation, test = found["validation"][metric], run.test[target][metric]
        show(
            f"{target}: {metric} {validation:.3f}{unit} on validation (step {run.result['best_step']}), {test:.3f}{unit} on test"
        )
    show(f"{run.folder}: for all scores with intervals, eofuse evaluate {run.folder}")


def run_evaluate(arguments: argparse.Namespace) -> None:
    """Does `eofuse evaluate`."""
    from eofuse.learning.cautions import width_notes
    from eofuse.learning.evaluate import evaluate
    from eofuse.learning.run import open_run
    from eofuse.terminal import console, scores_tables

    scores = evaluate(arguments.run)
    notes = [*open_run(arguments.run).notes(), *width_notes(scores)]
    if arguments.json:
        show_json({"run": arguments.run, "scores": scores, "notes": notes})
        return
    for table in scores_tables(scores):
        console().print(table)
    for note in notes:
        show(f"note: {note}")


def run_attribute(arguments: argparse.Namespace) -> None:
    """Does `eofuse attribute`."""
    from eofuse.learning.attribution import TABLE_FILE, attribute
    from eofuse.reports.missing import write_run_pictures
    from eofuse.terminal import attribution_tables, console

    found = carry_out(attribute, arguments, "asking", "times all test patches", run_folder=arguments.run)
    for table in attribution_tables(found.table, found.facts["targets"]):
        console().print(table)
    for warning in found.warnings:
        show(f"note: {warning}")
    show(f"{arguments.run / TABLE_FILE}: every metric")
    for path in write_run_pictures(found.table, found.facts["targets"], arguments.run):
        show(f"{path}: the picture")


def run_embed(arguments: argparse.Namespace) -> None:
    """Does `eofuse embed`."""
    import time

    from eofuse.data.store import EMBEDDINGS
    from eofuse.embedding.make import embed

    if arguments.list_models:
        _list_foundations()
        return
    for name, words in {"store": "STORE", "model": "--with MODEL", "to": "-o STORE"}.items():
        if getattr(arguments, name) is None:
            raise UsageError(
                f"{words} is missing", where="embed", fix="see eofuse embed --help, and eofuse embed --list"
            )
    units = dict(_unit(word) for word in arguments.unit)
    start = time.perf_counter()
    store = carry_out(embed, arguments, "embedding", "samples", units=units)
    took = time.perf_counter() - start
    made = [name for name in store.provenance[EMBEDDINGS] if name in store.modalities]
    facts = store.provenance[EMBEDDINGS][made[-1]]
    taken = ", ".join(
        place if place.endswith(f".{each['as']}") else f"{place} as {each['as']}"
        for place, each in facts["inputs"].items()
    )
    show(f"{facts['model']} saw {taken}")
    if facts["not_used"]:
        show(f"not used: {', '.join(facts['not_used'])}")
    for warning in facts["warnings"]:
        show(f"note: {warning}")
    weights = facts["weights"]
    where = [weights["file"], *([f"licence {weights['licence']}"] if weights["licence"] else []), weights["paper"]]
    show(f"weights: {', '.join(filter(None, where))}")
    if "history" not in store.provenance[EMBEDDINGS][made[0]]:
        show("note: it is not known which places and labels the weights have seen")
    numbers = ", ".join(f"{name} ({len(store.modalities[name].channels)} numbers)" for name in made)
    show(f"{arguments.to}: {len(store)} samples in {took:.0f} s ({len(store) / took:.1f} a second); new: {numbers}")


def _unit(word: str) -> tuple[str, str]:
    name, sign, unit = word.partition("=")
    if not sign or not name or not unit:
        raise UsageError(f"can't understand '{word}'", where="--unit", fix="write --unit s2=reflectance")
    return name, unit


def _list_foundations() -> None:
    from eofuse.models.foundation import FOUNDATIONS

    for name, model in FOUNDATIONS.items():
        sizes = ", ".join(f"{name}:{size}" for size in model.sizes)
        show(f"{sizes}: {model.title}, {model.paper}, licence {model.licence}")
        units: dict[str, list[str]] = {}
        for channel in model.channels:
            units.setdefault(channel.unit, []).append(channel.name)
        for unit, names in units.items():
            show(f"    {', '.join(names)} in {unit}")
    show("croma, copernicus_fm, dofa and panopticon need torchgeo's networks: pip install 'eofuse[torchgeo]'")
    show("RUN: the folder of a run or pretraining of eofuse, or of a saved model; takes its own inputs")
    show(
        "timm:NAME, torchgeo:NAME: networks of images, by the names of their weights; take the raster that has their bands"
    )


def run_predict(arguments: argparse.Namespace) -> None:
    """Does `eofuse predict`."""
    from eofuse.data.store import open_store
    from eofuse.inference.places import unplaced_note
    from eofuse.inference.predict import lacked_inputs, predict_store, write_predictions
    from eofuse.kinds import KINDS
    from eofuse.learning.run import MODEL_FOLDER, open_last
    from eofuse.learning.split_table import learned_from
    from eofuse.studies.choice import predicting_runs

    folders, source = predicting_runs(arguments.run, arguments.variant, arguments.seed)
    runs, store = [open_last(folder) for folder in folders], open_store(arguments.store)
    models = [run.folder / MODEL_FOLDER for run in runs]
    table = carry_out(predict_store, arguments, "predicting", "patches", models=models, store=store, source=source)
    write_predictions(table, arguments.output)
    predicted = int(table["predicted"].sum())
    missing = len(table) - predicted
    notes = []
    if runs[0].is_simulated:
        notes.append("the model was trained on simulated data: its predictions say nothing about the Earth")
    learned = int(table.loc[table["predicted"], "patch_id"].isin(learned_from(folders)).sum())
    if learned:
        notes.append(f"{learned} of {counted(predicted, 'patch', 'patches')} were used in training or validation")
    if lacked := lacked_inputs(models[0], store):
        inputs = ", ".join(f"{name} (in {count} of {predicted})" for name, count in lacked.items())
        notes.append(f"tokens stand for inputs that patches lack: {inputs}")
    if arguments.maps and (unplaced := unplaced_note(store)):
        notes.append(unplaced)
    has_boxes = any(KINDS[entry["kind"]].is_boxes for entry in runs[0].result["targets"])
    if arguments.maps and len(models) > 1 and has_boxes:
        notes.append(f"boxes are not averaged: those of {folders[0]} count")
    if arguments.json:
        files = {"output": arguments.output, "maps": arguments.maps}
        counts = {"patches": len(table), "predicted": predicted, "used_in_training_or_validation": learned}
        show_json({"predicted_by": source, **files, **counts, "notes": notes})
        return
    show(f"predicted by {source}")
    for note in notes:
        show(f"note: {note}")
    without = f"; {missing} of {len(table)} patches lack an input and have no prediction" if missing else ""
    show(f"{arguments.output}: {counted(predicted, 'prediction')}{without}")
    if arguments.maps:
        show(f"{arguments.maps}: maps of {counted(predicted, 'patch', 'patches')}")


def run_export(arguments: argparse.Namespace) -> None:
    """Does `eofuse export`."""
    from eofuse.export.write import export_model

    done = carry_out(export_model, arguments, "exporting", "steps")
    facts = done.description
    if arguments.json:
        files = {"output": done.path, "metadata": done.metadata}
        show_json({**files, "checked": done.checked, "difference": done.difference, "model": facts})
        return
    show(f"exported {facts['source']}")
    if facts["simulated"]:
        show("note: the model was trained on simulated data: its predictions say nothing about the Earth")
    for entry in facts["inputs"]:
        bands = ", ".join(channel["name"] for channel in entry["channels"])
        show(f"takes {entry['name']}: {entry['dtype']} {_axes(entry['shape'])}, as stored ({bands})")
    for entry in facts["outputs"]:
        show(f"gives {entry['name']}: {_axes(entry['shape'])} ({', '.join(entry['classes'])})")
    show(f"checked on {done.checked}: differs from the model by {done.difference:.1g} at most")
    show(f"{done.path}: the model; {done.metadata}: its STAC item")


def run_card(arguments: argparse.Namespace) -> None:
    """Does `eofuse card`."""
    from eofuse.export.card import model_card

    show(f"{model_card(arguments.run, arguments.output)}: the model card")


def _axes(shape: "Sequence[int | str]") -> str:
    return " × ".join(map(str, shape))


def run_suggest(arguments: argparse.Namespace) -> None:
    """Does `eofuse suggest`."""
    from eofuse.data.store.subset import read_ids
    from eofuse.suggestions import SHEET_FILE, TABLE_FILE, suggest

    ids = read_ids(arguments.ids) if arguments.ids else None
    found = carry_out(suggest, arguments, "looking at", "patches", ids=ids)
    without = ", ".join(f"{number} {reason}" for reason, number in found.left_out.items())
    show(f"{found.candidates} candidates" + (f"; left out: {without}" if without else ""))
    show(f"{found.folder / TABLE_FILE}: {len(found.table)} patches, the most wanted first")
    show(f"{found.folder / SHEET_FILE}: their pictures")


def run_study(arguments: argparse.Namespace) -> int:
    """Does `eofuse study`."""
    from eofuse.recipe import study
    from eofuse.reports.terminal import leaderboard_table, notes, question_lines
    from eofuse.terminal import console
    from eofuse.trained import REPORT_FILE

    done = carry_out(study, arguments, "studying", "runs")
    for target in done.results.targets:
        console().print(leaderboard_table(done.results.of(target)))
        for line in question_lines(done.results.of(target)):
            show(line)
    for note in notes(done.results):
        show(f"note: {note}")
    show(f"report: {done.folder / REPORT_FILE}")
    return 1 if done.results.summary.get("failed") else 0


def run_report(arguments: argparse.Namespace) -> None:
    """Does `eofuse report`."""
    from eofuse.trained import open_study

    if not arguments.study.is_dir():
        raise UsageError("is no study folder", where=arguments.study)
    show(open_study(arguments.study).report())
