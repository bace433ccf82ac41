"""Turns a fake study into one with several amounts of labels, without training anything."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from fake_study import LABELS

from eofuse.studies.results import COLUMNS

AMOUNTS = (0.01, 0.05, 0.1, 0.5, 1.0)
PRETRAINED = "early: s2 + s1"


def with_amounts(folder: Path, amounts: tuple[float, ...] = AMOUNTS) -> Path:
    """Adds smaller amounts to the tables of a study folder; the pretrained variant loses least with fewer labels."""
    summary = json.loads((folder / "summary.json").read_text())
    counts = [max(2, round(LABELS * amount)) for amount in amounts]
    summary["label_amounts"] = [
        {"amount": amount, "labels": count, "fewest": count, "most": count}
        for amount, count in zip(amounts, counts, strict=True)
    ]
    summary["labels_grouped"] = False
    for entry in summary["variants"]:
        is_pretrained = entry["name"] == PRETRAINED
        entry["start"] = "pretraining:views (linear probe)" if is_pretrained else ""
        entry["pretraining"] = "views" if is_pretrained else None
    (folder / "summary.json").write_text(json.dumps(summary))
    tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in COLUMNS}
    for name, columns in {
        "results": ["value", "low", "high"],
        "leaderboard": ["mean", "low", "high"],
        "comparisons": [],
        "cells": [],
        "curves": [],
        "per_class": [],
    }.items():
        parts = []
        for count in counts:
            part = tables[name].assign(n_labels=count)
            loss = np.where(part["variant"] == PRETRAINED, 0.015, 0.06) * np.log(LABELS / count)
            for column in columns:
                part[column] *= np.where(part["role"] == "constant", 1, 1 - loss)
            parts.append(part)
        tables[name] = pd.concat(parts, ignore_index=True)
    pretraining = tables["cells"].head(2).assign(variant="views", role="pretraining", n_labels=0, seed=[0, 1])
    tables["cells"] = pd.concat([pretraining, tables["cells"]], ignore_index=True)
    board = tables["leaderboard"]
    target, metric = summary["targets"][0]["target"], summary["targets"][0]["metric"]
    named = board[["variant", "role"]].drop_duplicates().query("role != 'constant'").to_dict("records")
    needed = {
        PRETRAINED: (48.3, 34.2, 80.1, 1.0),
        summary["baseline"]: (480.0, 300.5, np.inf, 0.9),
        "s1": (np.inf, np.inf, np.inf, 0.0),
    }
    rows = []
    for entry in named:
        found = needed.get(entry["variant"], (np.inf, 210.0, np.inf, 0.3))
        values = dict(zip(("needed", "low", "high", "reached"), found, strict=True))
        rows.append({"target": target, "metric": metric, **entry, **values})
    tables["efficiency"] = pd.DataFrame(rows)
    variants = board.query("role == 'variant'")
    full = variants[(variants["variant"] == summary["baseline"]) & (variants["n_labels"] == LABELS)].set_index("metric")
    differences = variants["mean"].to_numpy() - full["mean"].loc[variants["metric"]].to_numpy()
    tables["to_full"] = variants[["target", "variant", "n_labels", "metric", "n_seeds", "n_test", "n_scenes"]].assign(
        difference=differences, low=differences - 0.03, high=differences + 0.03, p=0.01, p_holm=0.2
    )
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    return folder
