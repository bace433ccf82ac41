"""Controls: what a result must beat to mean anything.

`constant_control` predicts the class frequencies of the training patches, whatever the input. `frozen_random_control` keeps the
run's own encoders at their random initial weights and trains only a linear head on their features (logistic regression, its
regularisation chosen on validation): what the architecture is worth without learning features.
"""

import json
import math
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eofuse.data.loading import Loader, Rows, in_order
from eofuse.data.store import open_store
from eofuse.files import write_text
from eofuse.learning.environment import describe_environment
from eofuse.learning.loop import open_fabric
from eofuse.learning.preparation import Prepared, model_spec, prepare
from eofuse.learning.run import ENVIRONMENT_FILE, RESULT_FILE, TEST_FILE, read_options, write_test
from eofuse.models.model import Model, build_model, count_parameters
from eofuse.tasks.base import Array

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisation strengths among which validation chooses."""


def constant_control(folder: Path) -> None:
    """Fills a run folder with the constant prediction."""
    if (folder / TEST_FILE).is_file():
        return
    started = time.perf_counter()
    prepared = _prepare(folder)
    constant = prepared.task.constant_prediction(prepared.rows["train"])
    _finish(
        folder, prepared, {name: np.tile(constant, (len(rows), 1)) for name, rows in prepared.rows.items()}, started, 0
    )


def frozen_random_control(folder: Path) -> None:
    """Fills a run folder with a linear head on frozen random features."""
    if (folder / TEST_FILE).is_file():
        return
    started = time.perf_counter()
    options = read_options(folder)
    prepared = _prepare(folder)
    device = open_fabric(options.train).device
    model = build_model(model_spec(prepared, options), seed=options.seed).to(device)
    loader = prepared.loader(options)
    features = {name: _features(model, loader, rows, device) for name, rows in prepared.rows.items()}
    probabilities = {name: np.zeros(0) for name in prepared.rows}
    best = -math.inf
    truth = prepared.task.target.values
    for strength in STRENGTHS:
        candidate = _linear_head(prepared, features, strength)
        score = prepared.task.score(truth[prepared.rows["validation"]], candidate["validation"])[prepared.task.metric]
        if score > best:
            best, probabilities = score, candidate
    heads = count_parameters(model.heads)
    _finish(folder, prepared, probabilities, started, heads)


def _prepare(folder: Path) -> Prepared:
    options = read_options(folder)
    return prepare(open_store(options.data.store), options)


@torch.inference_mode()
def _features(model: Model, loader: Loader, rows: Rows, device: torch.device) -> list[Array]:
    """Feature vectors of each head's input, (patches, width)."""
    model.eval()
    batches = [
        [f.vector.cpu().numpy() for f in model.features(loader.read(part).to(device).inputs)]
        for part in in_order(rows, 64)
    ]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def _linear_head(prepared: Prepared, features: dict[str, list[Array]], strength: float) -> dict[str, Array]:
    """Probabilities for each part, averaged over the heads as the model does."""
    heads = len(features["train"])
    truth = prepared.task.target.values[prepared.rows["train"]]
    gathered = {name: np.zeros((len(rows), len(prepared.task.classes))) for name, rows in prepared.rows.items()}
    for head in range(heads):
        scaler = StandardScaler().fit(features["train"][head])
        scaled = {name: scaler.transform(parts[head]) for name, parts in features.items()}
        columns = [truth] if prepared.task.kind == "single_label" else list(truth.T)
        for number, labels in enumerate(columns):
            for name, values in _regress(scaled, labels, strength).items():
                if prepared.task.kind == "single_label":
                    gathered[name][:, np.unique(labels)] += values / heads
                else:
                    gathered[name][:, number] += values / heads
    return gathered


def _regress(features: dict[str, Array], labels: Array, strength: float) -> dict[str, Array]:
    """Probabilities of the classes among the labels; of indicators, the probability of 1."""
    classes = np.unique(labels)
    indicators = labels.ndim == 1 and labels.dtype.kind == "f"
    if len(classes) == 1:
        return {name: np.full(len(values), float(classes[0])) for name, values in features.items()}
    regression = LogisticRegression(C=strength, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(features["train"], labels)
    probabilities = {name: regression.predict_proba(values) for name, values in features.items()}
    return {name: values[:, 1] if indicators else values for name, values in probabilities.items()}


def _finish(folder: Path, prepared: Prepared, probabilities: dict[str, Array], started: float, parameters: int) -> None:
    task = prepared.task
    result = {
        "target": task.name,
        "kind": task.kind,
        "classes": list(task.classes),
        "metric": task.metric,
        "validation": task.score(task.target.values[prepared.rows["validation"]], probabilities["validation"]),
        "steps": 0,
        "best_step": 0,
        "seconds": time.perf_counter() - started,
        "parameters": parameters,
    }
    write_text(folder / ENVIRONMENT_FILE, json.dumps(describe_environment(), indent=1) + "\n")
    write_text(folder / RESULT_FILE, json.dumps(result, indent=1) + "\n")
    write_test(folder, prepared, probabilities["test"])
