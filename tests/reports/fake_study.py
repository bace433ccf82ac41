"""Writes folders of finished studies with plausible numbers, without training anything."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fake_evidence import TARGETS, TEMPERATURE, UNITS, FakeTarget

from eofuse.evaluation.evidence import to_columns
from eofuse.evaluation.metrics import lower_is_better
from eofuse.kinds import KINDS
from eofuse.studies.results import COLUMNS
from scoring import main_metrics

Variant = tuple[str, str, list[str], float]

VARIANTS: tuple[Variant, ...] = (
    ("s2", "single", ["s2"], 0.0),
    ("s1", "single", ["s1"], -0.9),
    ("early: s2 + s1", "early", ["s2", "s1"], 0.15),
    ("late, separate: s2 + s1", "late_separate", ["s2", "s1"], 0.45),
    ("late, shared: s2 + s1 + weather", "late_shared", ["s2", "s1", "weather"], 0.1),
)
RANDOM = "random encoder: s2"
CONSTANT = "constant"
LABELS = 480
PER_PIXEL = "per pixel: s2"
RECIPE = """study:
  name: demo
  strategies: [single, early, late_separate, late_shared]
  seeds: [0, 1]
data:
  store: demo.store
  target: worldcover
train:
  steps: 300
  batch_size: 32
"""


def write_study(
    folder: Path,
    task_kind: str = "single_label",
    *,
    kinds: tuple[str, ...] = (),
    twins: bool = False,
    simulated: bool = False,
    title: str = "Which fusion strategy for land cover?",
    variants: tuple[Variant, ...] = VARIANTS,
    classes: tuple[str, ...] | None = None,
    patch_ids: list[str] | None = None,
    scenes: list[str] | None = None,
    n_test: int = 180,
    n_scenes: int = 24,
    seeds: tuple[int, ...] = (0, 1),
    skill: float = 2.2,
    fingerprint: str = "0a1b2c3d4e5f",
    store_path: str = "demo.store",
    warnings: tuple[str, ...] = (),
    changes: dict[str, Any] | None = None,
) -> Path:
    """Writes a study folder.

    Args:
        folder: where.
        task_kind: of its only target.
        kinds: of its targets, if there are several.
        twins: whether the first variant has a single-task twin on each target.
        changes: replaces keys of the summary.
    """
    kinds = kinds or (task_kind,)
    patch_ids = patch_ids or [f"S2A_MSIL2A_20170613T101031_{i // 90}_{i % 90}" for i in range(n_test)]
    scenes = scenes or [f"S2A_20170613T10{i % n_scenes:02d}31" for i in range(len(patch_ids))]
    random = np.random.default_rng(7)
    controls = [(RANDOM, "frozen_random", "single", ["s2"], -1.3), (CONSTANT, "constant", "", [], -9.0)]
    everywhere = [(name, "variant", strategy, inputs, gain) for name, strategy, inputs, gain in variants]
    alone = {kind: f"{variants[0][0]}, {TARGETS[kind]} alone" for kind in kinds} if twins else {}
    counts = {"n_test": len(patch_ids), "n_scenes": len(set(scenes))}
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}
    targets = []
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "predictions").mkdir(exist_ok=True)
    for kind in kinds:
        target = FakeTarget(kind, patch_ids, classes, random)
        contestants = [*everywhere, *controls]
        if kind == "segmentation":
            contestants.append((PER_PIXEL, "per_pixel", "", ["s2"], -1.6))
        if kind in alone:
            _, strategy, inputs, gain = variants[0]
            contestants.insert(len(variants), (alone[kind], "variant", strategy, inputs, gain + 0.05))
        predictions, calibration = [], []
        for name, role, _, _, gain in contestants:
            for seed in (0,) if role in ("constant", "per_pixel") else seeds:
                run = {"variant": name, "role": role, "seed": seed, "fold": 0, "n_labels": LABELS}
                outcome = target.predict(max(skill + gain, 0.0), role == "constant")
                for metric, value in outcome.scores.items():
                    low, high = _interval(metric, value, len(patch_ids))
                    row = {"target": TARGETS[kind], "metric": metric, "value": value, "low": low, "high": high}
                    tables["results"].append(run | row | counts)
                patches = pd.DataFrame({"patch_id": patch_ids, "row": range(len(patch_ids)), "scene": scenes})
                columns = to_columns(outcome.evidence) | outcome.extra
                predictions.append(patches.assign(**run, **{key: pd.Series(value) for key, value in columns.items()}))
                for metric, values in outcome.per_class.items():
                    if metric != "support":
                        tables["per_class"].extend(
                            {"target": TARGETS[kind], "variant": name, "role": role, "seed": seed, "class": label,
                            "metric": metric, "value": value, "support": support}
                            for label, value, support in zip(
                                target.classes, values, outcome.per_class["support"], strict=True
                            )
                        )  # fmt: skip
                if role != "constant":
                    ranking = KINDS[kind].ranking
                    tables["curves"].extend(
                        _curves(TARGETS[kind], name, seed, ranking, outcome.scores[ranking], random)
                    )
                if role == "variant":
                    calibration.append({"variant": name, "seed": seed, "fold": 0, "temperature": TEMPERATURE})
                    if outcome.maps is not None:
                        maps = folder / "cells" / _cell_name(name, "final", seed) / "maps"
                        maps.mkdir(parents=True, exist_ok=True)
                        np.save(maps / f"{TARGETS[kind]}.npy", outcome.maps)
        pd.concat(predictions).to_parquet(folder / "predictions" / f"{TARGETS[kind]}.parquet")
        targets.append(
            {"target": TARGETS[kind], "task_kind": kind, "metric": KINDS[kind].ranking, "metrics": list(main_metrics(KINDS[kind])),
            "classes": list(target.classes), "unit": UNITS.get(kind, ""),
            "patches": {"train": LABELS, "validation": 140, "test": counts["n_test"]},
            "scenes": {"train": 61, "validation": 24, "test": counts["n_scenes"]}, "calibration": calibration}
        )  # fmt: skip
    baseline = variants[0][0]
    tables["leaderboard"] = _leaderboard(pd.DataFrame(tables["results"]), counts)
    tables["comparisons"] = _comparisons(tables["leaderboard"], baseline, alone, counts, len(seeds))
    names = [*everywhere, *((name, "variant", "single", ["s2"], 0.0) for name in alone.values()), *controls]
    names += [(PER_PIXEL, "per_pixel", "", ["s2"], 0.0)] if "segmentation" in kinds else []
    for name, role, *_ in names:
        steps = 0 if role in ("constant", "per_pixel") else 300
        for seed in seeds if steps else (0,):
            tables["cells"].append(_cell(name, "final" if role == "variant" else role, seed, steps, random))
        if role == "variant" and name not in alone.values():
            tables["cells"].extend(_cell(name, "search", 0, 100, random, rate) for rate in (1e-4, 1e-3, 1e-2))
    for table, rows in tables.items():
        pd.DataFrame(rows, columns=COLUMNS[table]).assign(n_labels=LABELS).to_parquet(folder / f"{table}.parquet")
    n_test = len(patch_ids)
    summary = {
        "name": "demo", "title": title, "targets": targets, "baseline": baseline,
        "simulated": simulated, "store": "ben-ge-800", "store_path": store_path, "fingerprint": fingerprint,
        "excluded": {"no label": 17, "no Sentinel-1": 3},
        "split": {"protocol": "scene", "seed": 0, "fractions": [0.6, 0.2, 0.2]},
        "leakage": [
            {"protocol": "random", "test_patches": n_test, "sharing_scene": n_test - 2, "adjacent": n_test // 3},
            {"protocol": "scene", "test_patches": n_test, "sharing_scene": 0, "adjacent": n_test // 40},
            {"protocol": "block", "test_patches": n_test, "sharing_scene": n_test // 2, "adjacent": 0},
        ],
        "label_amounts": [{"amount": 1.0, "labels": LABELS, "fewest": LABELS, "most": LABELS}],
        "seeds": list(seeds), "search": {"learning_rates": [1e-4, 1e-3, 1e-2], "steps": 100, "runs": 15},
        "budget": {"steps": 300, "batch_size": 32},
        "environment": {"eofuse": "0.1.0", "python": "3.11.9", "torch": "2.15.0", "device": "cpu", "threads": 1},
        "warnings": list(warnings), "seconds": 263.4, "energy_joules": None, "recipe": RECIPE,
        "command": "eofuse study demo.yaml data.store=demo.store",
        "variants": [
            {"name": name, "role": role, "strategy": strategy, "inputs": inputs,
            "encoder": "" if role == "constant" else "resnet10t",
            "parameters": 0 if role == "constant" else 5_012_345 * max(len(inputs), 1),
            "learning_rate": 1e-3 if role == "variant" else None}
            for name, role, strategy, inputs, _ in names
        ],
        "twins": [{"together": baseline, "alone": {TARGETS[kind]: name for kind, name in alone.items()}}] if alone else [],
    }  # fmt: skip
    summary.update(changes or {})
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def _interval(metric: str, value: float, patches: int) -> tuple[float, float]:
    half = 0.9 / np.sqrt(patches) * (1 if abs(value) < 1.5 else abs(value))
    if lower_is_better(metric) or abs(value) > 1.5:
        return value - 0.5 * half, value + 0.5 * half
    return max(value - half, 0.0), min(value + half, 1.0)


def _leaderboard(results: pd.DataFrame, counts: dict[str, int]) -> list[dict[str, Any]]:
    rows = []
    for (target, name, role, metric), group in results.groupby(["target", "variant", "role", "metric"], sort=False):
        rows.append(
            {"target": target, "variant": name, "role": role, "metric": metric, "mean": group["value"].mean(),
            "seed_sd": group["value"].std(ddof=1), "low": group["low"].mean(), "high": group["high"].mean(),
            "n_seeds": len(group)} | counts
        )  # fmt: skip
    return rows


def _comparisons(
    leaderboard: list[dict[str, Any]], baseline: str, alone: dict[str, str], counts: dict[str, int], seeds: int
) -> list[dict[str, Any]]:
    """Every variant and random encoder against the baseline, every variant against constant, twins against each other."""
    lines = {(line["target"], line["variant"], line["metric"]): line for line in leaderboard}
    rows = []
    for (target, name, metric), line in lines.items():
        others = [] if line["role"] in ("constant", "per_pixel") else [baseline]
        if line["role"] == "variant":
            others += [CONSTANT, *([PER_PIXEL] if target == TARGETS["segmentation"] else [])]
        if name == baseline:
            others += [other for other in alone.values() if (target, other, metric) in lines]
        for other in others:
            if other == name:
                continue
            difference = line["mean"] - lines[target, other, metric]["mean"]
            half = 0.04 if abs(line["mean"]) < 1.5 else 0.06 * abs(line["mean"])
            p = float(np.clip(np.exp(-abs(difference) * 2.4 / half), 1e-4, 1))
            rows.append(
                {"target": target, "variant": name, "baseline": other, "metric": metric, "difference": difference,
                "low": difference - half, "high": difference + half, "p": p, "p_holm": min(1.0, 3 * p),
                "n_seeds": seeds} | counts
            )  # fmt: skip
    return rows


def _cell_name(variant: str, role: str, seed: int, rate: float = 1e-3) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in f"{variant}-{role}-{seed}-{rate}")


def _cell(
    name: str, role: str, seed: int, steps: int, random: np.random.Generator, rate: float = 1e-3
) -> dict[str, Any]:
    return {
        "cell": _cell_name(name, role, seed, rate), "variant": name, "role": role, "seed": seed, "fold": 0,
        "learning_rate": rate, "steps": steps, "best_step": steps * 4 // 5, "seconds": 0.02 * steps + random.random(),
        "parameters": 5_012_345, "validation_score": 0.5 + 0.1 * random.random(),
    }  # fmt: skip


def _curves(
    target: str, name: str, seed: int, metric: str, score: float, random: np.random.Generator
) -> list[dict[str, Any]]:
    rows = []
    for step in range(30, 301, 30):
        loss = 1.8 * np.exp(-step / 110) + 0.25 + 0.05 * random.normal()
        way = np.exp(-step / 60)
        value = score * (1 + 2 * way if lower_is_better(metric) else 1 - way) + 0.02 * score * random.normal()
        for split, shown, number in (("train", "loss", loss), ("validation", metric, value)):
            rows.append(
                {"target": target, "variant": name, "seed": seed, "fold": 0, "step": step, "split": split,
                "metric": shown, "value": number}
            )  # fmt: skip
    return rows
