"""The leaderboard in the terminal."""

import io
from pathlib import Path

import pandas as pd
from fake_study import VARIANTS, write_study
from rich.console import Console

from eofuse.reports.terminal import leaderboard_table, notes
from eofuse.studies.results import read_results


def printed(folder: Path, width: int, **options: object) -> list[str]:
    results = read_results(write_study(folder / "study", n_test=40, **options))  # type: ignore[arg-type]
    stream = io.StringIO()
    Console(file=stream, width=width).print(leaderboard_table(results))
    return stream.getvalue().splitlines()


def test_lists_every_variant_by_rank_then_the_controls(tmp_path: Path) -> None:
    lines = printed(tmp_path, 120)
    positions = [next(i for i, line in enumerate(lines) if line.startswith(f" {rank} ")) for rank in range(1, 6)]
    assert positions == sorted(positions)
    controls = [
        i for i, line in enumerate(lines) if "random encoder: s2" in line or line.strip().startswith("constant")
    ]
    assert len(controls) == 2
    assert min(controls) > positions[-1]
    assert any("baseline" in line for line in lines)


def test_fits_eighty_columns_with_every_column_whole(tmp_path: Path) -> None:
    lines = printed(tmp_path, 80)
    assert max(len(line) for line in lines) <= 80
    assert "…" not in "".join(lines)
    assert any("time/run" in line for line in lines)


def test_names_with_markup_are_printed_as_they_are(tmp_path: Path) -> None:
    variants = (("[bold]s2[/bold]", "single", ["s2"], 0.0), *VARIANTS[1:3])
    assert any("[bold]s2[/bold]" in line for line in printed(tmp_path, 120, variants=variants))


def test_simulated_data_are_marked(tmp_path: Path) -> None:
    assert "(simulated data)" in printed(tmp_path, 120, simulated=True)[0]


def test_errors_are_told_in_their_unit_and_fit_too(tmp_path: Path) -> None:
    lines = printed(tmp_path, 80, task_kind="regression")
    assert max(len(line) for line in lines) <= 80
    assert "…" not in "".join(lines)
    assert any("RMSE (m)" in line for line in lines)


def test_one_of_several_targets_is_named(tmp_path: Path) -> None:
    assert ": mean_elevation" in printed(tmp_path, 120, kinds=("regression", "single_label"), variants=VARIANTS[:1])[0]


def test_what_is_left_out_comes_before_the_warnings(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", n_test=40, warnings=("Few seeds.",)))
    assert notes(results)[:2] == ["Patches left out: 17 (no label), 3 (no Sentinel-1).", "Few seeds."]


def test_what_speaks_against_the_runs_comes_after_the_warnings(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", n_test=40, warnings=("Few seeds.",))
    cells = pd.read_parquet(folder / "cells.parquet")
    cells.assign(best_step=cells["steps"]).to_parquet(folder / "cells.parquet")
    found = notes(read_results(folder))
    assert any("Still improving on validation when training ended" in text for text in found[2:])
