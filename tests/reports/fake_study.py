"""Writes folders of finished studies with plausible numbers, without training anything."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eofuse.evaluation.classification import multi_label_metrics, per_class, single_label_metrics
from eofuse.evaluation.metrics import METRICS

SINGLE_CLASSES = ("tree_cover", "grassland", "cropland", "built-up", "permanent_water_bodies", "herbaceous_wetland")
MULTI_CLASSES = (
    "Arable land",
    "Broad-leaved forest",
    "Coniferous forest",
    "Complex cultivation patterns",
    "Inland waters",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Marine waters",
    "Mixed forest",
    "Pastures",
    "Transitional woodland, shrub",
    "Urban fabric",
)
VARIANTS = (
    ("s2", "single", ["s2"], 0.0),
    ("s1", "single", ["s1"], -0.9),
    ("early: s2 + s1", "early", ["s2", "s1"], 0.15),
    ("late, separate: s2 + s1", "late_separate", ["s2", "s1"], 0.45),
    ("late, shared: s2 + s1 + weather", "late_shared", ["s2", "s1", "weather"], 0.1),
)
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
    simulated: bool = False,
    title: str = "Which fusion strategy for land cover?",
    variants: tuple[tuple[str, str, list[str], float], ...] = VARIANTS,
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
    """Writes a study folder; `changes` replaces keys of the summary."""
    random = np.random.default_rng(7)
    classes = classes or (SINGLE_CLASSES if task_kind == "single_label" else MULTI_CLASSES)
    patch_ids = patch_ids or [f"S2A_MSIL2A_20170613T101031_{i // 90}_{i % 90}" for i in range(n_test)]
    n_test = len(patch_ids)
    scenes = scenes or [f"S2A_20170613T10{i % n_scenes:02d}31" for i in range(n_test)]
    size = len(classes)
    truth: np.ndarray
    if task_kind == "single_label":
        truth = random.choice(size, n_test, p=np.arange(size, 0, -1) / np.arange(1, size + 1).sum())
        one_hot = np.eye(size)[truth]
    else:
        truth = (random.random((n_test, size)) < np.linspace(0.45, 0.08, size)).astype(int)
        one_hot = truth
    measure = single_label_metrics if task_kind == "single_label" else multi_label_metrics
    metrics = list(METRICS[task_kind])  # type: ignore[index]
    contestants = [(name, "variant", strategy, inputs, gain) for name, strategy, inputs, gain in variants]
    contestants.append(("random encoder: s2", "frozen_random", "single", ["s2"], -1.3))
    contestants.append(("constant", "constant", "", [], -9.0))
    shared_noise = random.normal(size=(n_test, size)) * 1.2
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("results", "predictions", "per_class", "cells", "curves", "leaderboard", "comparisons")
    }
    for name, role, _strategy, _inputs, gain in contestants:
        runs = (0,) if role == "constant" else seeds
        for seed in runs:
            strength = max(skill + gain, 0.0)
            logits = strength * (2 * one_hot - 1) * 0.6 + shared_noise + random.normal(size=(n_test, size)) * 0.8
            if role == "constant":
                logits = np.tile(one_hot.mean(axis=0), (n_test, 1))
            odds = np.exp(logits * 1.2)
            probabilities = odds / odds.sum(1, keepdims=True) if task_kind == "single_label" else odds / (1 + odds)
            values = measure(truth, probabilities)
            half = 0.9 / np.sqrt(n_test)
            for metric in metrics:
                tables["results"].append(
                    _run(name, role, seed) | {"metric": metric, "value": values[metric],
                    "low": max(values[metric] - half, 0.0), "high": min(values[metric] + half, 1.0),
                    "n_test": n_test, "n_scenes": len(set(scenes))}
                )  # fmt: skip
            for i, patch_id in enumerate(patch_ids):
                tables["predictions"].append(
                    _run(name, role, seed)
                    | {"patch_id": patch_id, "row": i, "scene": scenes[i], "truth": truth[i].tolist(),
                    "probabilities": probabilities[i].tolist()}
                )  # fmt: skip
            scores = per_class(truth, probabilities)
            for metric in ("f1", "precision", "recall", "average_precision"):
                for position, label in enumerate(classes):
                    tables["per_class"].append(
                        {"variant": name, "role": role, "seed": seed, "class": label, "metric": metric,
                        "value": scores[metric][position], "support": scores["support"][position]}
                    )  # fmt: skip
            final_role = "final" if role == "variant" else role
            tables["cells"].append(_cell(name, final_role, seed, 0 if role == "constant" else 300, random))
            if role != "constant":
                tables["curves"].extend(_curves(name, seed, float(values[metrics[0]]), random))
        if role == "variant":
            tables["cells"].extend(_cell(name, "search", 0, 100, random, rate) for rate in (1e-4, 1e-3, 1e-2))
    results = pd.DataFrame(tables["results"])
    for (name, role, metric), group in results.groupby(["variant", "role", "metric"], sort=False):
        tables["leaderboard"].append(
            {"variant": name, "role": role, "metric": metric, "mean": group["value"].mean(),
            "seed_sd": group["value"].std(ddof=1), "low": group["low"].mean(), "high": group["high"].mean(),
            "n_seeds": len(group), "n_test": n_test, "n_scenes": len(set(scenes))}
        )  # fmt: skip
    baseline = variants[0][0]
    means = pd.DataFrame(tables["leaderboard"]).set_index(["variant", "metric"])["mean"]
    for name, role, *_ in contestants:
        if name == baseline or role == "constant":
            continue
        for metric in metrics:
            difference = means[name, metric] - means[baseline, metric]
            p = float(np.clip(np.exp(-abs(difference) * 60), 1e-4, 1))
            tables["comparisons"].append(
                {"variant": name, "baseline": baseline, "metric": metric, "difference": difference,
                "low": difference - 0.04, "high": difference + 0.04, "p": p, "p_holm": min(1.0, 3 * p),
                "n_seeds": len(seeds), "n_test": n_test, "n_scenes": len(set(scenes))}
            )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in tables.items():
        frame = pd.DataFrame(rows, columns=None if rows else _EMPTY_COMPARISONS)
        frame.to_parquet(folder / f"{table}.parquet")
    summary = {
        "name": "demo", "title": title, "target": "worldcover" if task_kind == "single_label" else "labels_19",
        "task_kind": task_kind, "metric": metrics[0], "metrics": metrics, "classes": list(classes),
        "baseline": baseline,
        "simulated": simulated, "store": "ben-ge-800", "store_path": store_path, "fingerprint": fingerprint,
        "patches": {"train": 480, "validation": 140, "test": n_test},
        "scenes": {"train": 61, "validation": 24, "test": len(set(scenes))},
        "excluded": {"no label": 17, "no Sentinel-1": 3},
        "split": {"protocol": "scene", "seed": 0, "fractions": [0.6, 0.2, 0.2]},
        "leakage": [
            {"protocol": "random", "test_patches": n_test, "sharing_scene": n_test - 2, "adjacent": n_test // 3},
            {"protocol": "scene", "test_patches": n_test, "sharing_scene": 0, "adjacent": n_test // 40},
            {"protocol": "block", "test_patches": n_test, "sharing_scene": n_test // 2, "adjacent": 0},
        ],
        "seeds": list(seeds), "search": {"learning_rates": [1e-4, 1e-3, 1e-2], "steps": 100, "runs": 15},
        "budget": {"steps": 300, "batch_size": 32},
        "environment": {"eofuse": "0.1.0", "python": "3.11.9", "torch": "2.15.0", "device": "cpu", "threads": 1},
        "warnings": list(warnings), "seconds": 263.4, "energy_joules": None, "recipe": RECIPE,
        "command": "eofuse study demo.yaml data.store=demo.store",
        "variants": [
            {"name": name, "role": role, "strategy": strategy, "inputs": inputs,
            "encoder": "" if role == "constant" else "resnet10t",
            "parameters": 0 if role == "constant" else 5_012_345 * max(len(inputs), 1),
            "learning_rate": None if role == "constant" else 1e-3}
            for name, role, strategy, inputs, _ in contestants
        ],
    }  # fmt: skip
    summary.update(changes or {})
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


_EMPTY_COMPARISONS = [
    "variant", "baseline", "metric", "difference", "low", "high", "p", "p_holm", "n_seeds", "n_test", "n_scenes",
]  # fmt: skip


def _run(name: str, role: str, seed: int) -> dict[str, Any]:
    return {"variant": name, "role": role, "seed": seed, "fold": 0}


def _cell(
    name: str, role: str, seed: int, steps: int, random: np.random.Generator, rate: float = 1e-3
) -> dict[str, Any]:
    return {
        "cell": f"{name}-{role}-{seed}-{rate}", "variant": name, "role": role, "seed": seed, "fold": 0,
        "learning_rate": rate, "steps": steps, "best_step": steps * 4 // 5, "seconds": 0.02 * steps + random.random(),
        "parameters": 5_012_345, "validation_score": 0.5 + 0.1 * random.random(),
    }  # fmt: skip


def _curves(name: str, seed: int, score: float, random: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for step in range(30, 301, 30):
        loss = 1.8 * np.exp(-step / 110) + 0.25 + 0.05 * random.normal()
        value = score * (1 - np.exp(-step / 60)) + 0.02 * random.normal()
        for split, metric, number in (
            ("train", "loss", loss),
            ("validation", "macro_f1", value),
            ("validation", "mAP", value),
        ):
            rows.append(
                {
                    "variant": name,
                    "seed": seed,
                    "fold": 0,
                    "step": step,
                    "split": split,
                    "metric": metric,
                    "value": number,
                }
            )
    return rows
