"""Makes a shipped recipe small enough to run in a test, without changing what it does."""

from pathlib import Path
from typing import Any

from eofuse.config import merge, read_yaml

RECIPES = Path(__file__).parents[1] / "recipes"
WITHOUT_PIXELS = ("fuel_moisture.yaml", "fuel_moisture_foundation.yaml")
CONTROLLED = ("demo.yaml", "eurosat_100.yaml")
"""Studies that keep their controls, which cost as much as their variants: of labels and of numbers."""

ONE_AMOUNT = (
    "eurosat_foundation.yaml",
    "fuel_moisture_foundation.yaml",
    "label_efficiency.yaml",
    "label_efficiency_small.yaml",
)
"""Studies of many variants, which are trained with all labels only; smaller ones have two amounts."""


def shrunk(name: str) -> dict[str, Any]:
    """The recipe with two steps a run, one learning rate, one seed, two folds, two amounts of labels, small crops, and small encoders.

    Recipes of single runs and pretrainings keep their encoder.
    """
    values = read_yaml(RECIPES / name)
    values = merge(values, {"train": {"steps": 2, "batch_size": 4, "evaluations": 1}})
    if name not in WITHOUT_PIXELS:
        values = merge(values, {"data": {"crop": 32}})
    if "study" in values:
        values = merge(values, {"fusion": {"encoder": "test_resnet"}, "study": {"controls": name in CONTROLLED}})
        few = {"train": values["train"]}
        pretraining = {name: merge(each, few) for name, each in values["study"].get("pretraining", {}).items()}
        values = merge(values, {"study": {"pretraining": pretraining}})
        if "label_amounts" in values["study"]:
            values = merge(values, {"study": {"label_amounts": [1.0] if name in ONE_AMOUNT else [0.2, 1.0]}})
        values = merge(values, {"study": {"seeds": [0], "replicates": 100, "search": {"learning_rates": [0.001]}}})
        for variant in values["study"]["variants"].values():
            if variant and "steps" in variant.get("train", {}):
                variant["train"] = few["train"]
        if "folds" in values["study"]:
            values = merge(values, {"study": {"folds": 2}})
    return values
