"""Commands about models: runs, what they predict, and studies."""

import argparse
from typing import TYPE_CHECKING

from eofuse.errors import UsageError

if TYPE_CHECKING:
    from eofuse.learning.pretraining.run import PretrainedRun
    from eofuse.learning.run import Run


def run_train(arguments: argparse.Namespace) -> int:
    """Does `eofuse train`."""
    from eofuse.recipe import train
    from eofuse.terminal import progress_bar

    with progress_bar("training", "steps") as progress:
        run = train(
            arguments.recipe,
            store=arguments.store,
            to=arguments.to,
            overrides=arguments.overrides,
            progress=progress,
        )
    return _tell(run)


def run_pretrain(arguments: argparse.Namespace) -> int:
    """Does `eofuse pretrain`."""
    from eofuse.recipe import pretrain
    from eofuse.terminal import progress_bar

    with progress_bar("pretraining", "steps") as progress:
        run = pretrain(
            arguments.recipe,
            store=arguments.store,
            to=arguments.to,
            overrides=arguments.overrides,
            progress=progress,
        )
    return _tell_pretraining(run)


def _tell_pretraining(run: "PretrainedRun") -> int:
    from eofuse.learning.run import MODEL_FOLDER

    for note in run.notes():
        print(f"note: {note}")
    before, after = run.result["before"], run.result["after"]
    print(", ".join(f"{name.replace('_', ' ')} {before[name]:.3f} → {value:.3f}" for name, value in after.items()))
    print(f"{run.folder / MODEL_FOLDER}: weights after {run.result['steps']} steps of {run.result['method']}")
    return 0


def run_resume(arguments: argparse.Namespace) -> int:
    """Does `eofuse resume`."""
    from eofuse.learning.run import Run
    from eofuse.recipe import resume
    from eofuse.terminal import progress_bar

    with progress_bar("training", "steps") as progress:
        run = resume(arguments.run, progress)
    return _tell(run) if isinstance(run, Run) else _tell_pretraining(run)


def _tell(run: "Run") -> int:
    from eofuse.terminal import console, transfer_table

    assert run.test is not None
    if (started := run.transfer()) is not None:
        console().print(transfer_table(started))
    for warning in run.notes():
        print(f"note: {warning}")
    for found in run.result["targets"]:
        target, metric, unit = found["target"], found["metric"], f" {found['unit']}" if found["unit"] else ""
        validation, test = found["validation"][metric], run.test[target][metric]
        print(
            f"{target}: {metric} {validation:.3f}{unit} on validation (step {run.result['best_step']}), {test:.3f}{unit} on test"
        )
    print(f"{run.folder}: for all scores with intervals, eofuse evaluate {run.folder}")
    return 0


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Does `eofuse evaluate`."""
    from eofuse.learning.evaluate import evaluate
    from eofuse.learning.run import open_run
    from eofuse.terminal import console, scores_tables

    for table in scores_tables(evaluate(arguments.run)):
        console().print(table)
    for note in open_run(arguments.run).notes():
        print(f"note: {note}")
    return 0


def run_attribute(arguments: argparse.Namespace) -> int:
    """Does `eofuse attribute`."""
    from eofuse.learning.attribution import TABLE_FILE, attribute
    from eofuse.reports.absence import write_run_pictures
    from eofuse.terminal import attribution_tables, console, progress_bar

    with progress_bar("asking", "times all test patches") as progress:
        found = attribute(
            arguments.run,
            metric=arguments.metric,
            seed=arguments.seed,
            repeats=arguments.repeats,
            progress=progress,
        )
    for table in attribution_tables(found.table, found.facts["targets"]):
        console().print(table)
    for warning in found.warnings:
        print(f"note: {warning}")
    print(f"{arguments.run / TABLE_FILE}: every metric")
    for path in write_run_pictures(found.table, found.facts["targets"], arguments.run):
        print(f"{path}: the picture")
    return 0


def run_predict(arguments: argparse.Namespace) -> int:
    """Does `eofuse predict`."""
    from eofuse.data.store import open_store
    from eofuse.inference.places import unplaced_note
    from eofuse.inference.predict import lacked_inputs, predict_store, write_predictions
    from eofuse.learning.run import MODEL_FOLDER, open_last
    from eofuse.terminal import progress_bar

    run, store = open_last(arguments.run), open_store(arguments.store)
    with progress_bar("predicting", "patches") as progress:
        table = predict_store(
            run.folder / MODEL_FOLDER,
            store,
            maps=arguments.maps,
            threshold=arguments.threshold,
            progress=progress,
        )
    write_predictions(table, arguments.output)
    missing = int((~table["predicted"]).sum())
    if run.is_simulated:
        print("note: the model was trained on simulated data: its predictions say nothing about the Earth")
    if lacked := lacked_inputs(run.folder / MODEL_FOLDER, store):
        told = ", ".join(f"{name} (in {count} of {len(table) - missing})" for name, count in lacked.items())
        print(f"note: tokens stand for inputs that patches lack: {told}")
    if arguments.maps and (unplaced := unplaced_note(store)):
        print(f"note: {unplaced}")
    without = f"; {missing} of {len(table)} patches lack an input and have no prediction" if missing else ""
    print(f"{arguments.output}: {len(table) - missing} predictions{without}")
    if arguments.maps:
        print(f"{arguments.maps}: maps of {len(table) - missing} patches")
    return 0


def run_suggest(arguments: argparse.Namespace) -> int:
    """Does `eofuse suggest`."""
    from eofuse.suggestions import SHEET_FILE, TABLE_FILE, suggest
    from eofuse.terminal import progress_bar

    with progress_bar("looking at", "patches") as progress:
        found = suggest(
            arguments.run,
            arguments.store,
            arguments.count,
            by=arguments.by,
            output=arguments.output,
            seed=arguments.seed,
            progress=progress,
        )
    without = ", ".join(f"{number} {reason}" for reason, number in found.left_out.items())
    print(f"{found.candidates} candidates" + (f"; left out: {without}" if without else ""))
    print(f"{found.folder / TABLE_FILE}: {len(found.table)} patches, the most wanted first")
    print(f"{found.folder / SHEET_FILE}: their pictures")
    return 0


def run_study(arguments: argparse.Namespace) -> int:
    """Does `eofuse study`."""
    from eofuse.recipe import REPORT_FILE, study
    from eofuse.reports.terminal import leaderboard_table, notes, question_lines
    from eofuse.terminal import console, progress_bar

    with progress_bar("studying", "runs") as progress:
        done = study(
            arguments.recipe,
            store=arguments.store,
            to=arguments.to,
            overrides=arguments.overrides,
            workers=arguments.workers,
            progress=progress,
        )
    for target in done.results.targets:
        console().print(leaderboard_table(done.results.of(target)))
        for line in question_lines(done.results.of(target)):
            print(line)
    for note in notes(done.results):
        print(f"note: {note}")
    print(f"report: {(done.folder / REPORT_FILE).resolve()}")
    return 0


def run_report(arguments: argparse.Namespace) -> int:
    """Does `eofuse report`."""
    from eofuse.recipe import open_study

    if not arguments.study.is_dir():
        raise UsageError("is no study folder", where=arguments.study)
    print(open_study(arguments.study).report())
    return 0
