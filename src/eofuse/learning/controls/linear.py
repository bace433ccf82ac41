"""Linear models, fitted to the end: logistic regression for classes, ridge regression for numbers (scikit-learn)."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from eofuse.learning.controls.finish import Control
from eofuse.tasks import Task
from eofuse.tasks.base import Array

MOST_ITERATIONS = 5_000
"""Of a logistic regression; on features of random encoders some hundreds are enough."""

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisation strengths among which validation chooses."""


class Linear:
    """A linear model from features to what a task predicts.

    Args:
        task: what is predicted.
        features: (n, width) of training samples.
        truth: (n,) class numbers, (n, classes) indicators or (n, numbers).
        strength: inverse of the regularisation.

    Attributes:
        converged: whether the best model was found; if not, it may be worth more than it shows.
    """

    def __init__(self, task: Task, features: Array, truth: Array, strength: float) -> None:
        self.task = task
        self.converged = True
        self.scaler = StandardScaler().fit(features)
        scaled = self.scaler.transform(features)
        if task.kind.is_numbers:
            self.models = [Ridge(alpha=1 / strength).fit(scaled, truth)]
        elif task.kind.has_several:
            self.models = [self._logistic(scaled, labels, strength) for labels in truth.T]
        else:
            self.models = [self._logistic(scaled, truth, strength)]

    def _logistic(self, features: Array, labels: Array, strength: float) -> LogisticRegression | float:
        """A fitted regression; where there is one class only, that class."""
        if (labels == labels[0]).all():
            return float(labels[0])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = LogisticRegression(C=strength, max_iter=MOST_ITERATIONS).fit(features, labels)
        self.converged &= not any(issubclass(each.category, ConvergenceWarning) for each in caught)
        return model

    def affine(self) -> tuple[Array, Array]:
        """Coefficients (outputs, width) and intercepts (outputs,) of `decided` on features that are not scaled."""
        width = len(self.scaler.mean_)
        own = [
            (np.zeros((1, width)), np.full(1, model)) if isinstance(model, float) else (model.coef_, model.intercept_)
            for model in self.models
        ]
        coefficients = np.concatenate([np.reshape(each, (-1, width)) for each, _ in own]) / self.scaler.scale_
        intercepts = np.concatenate([np.ravel(each) for _, each in own])
        return coefficients, intercepts - coefficients @ self.scaler.mean_

    def decided(self, outputs: Array) -> Array:
        """Probabilities or numbers (…, classes) from the outputs (…, outputs) of `affine`."""
        if self.task.kind.is_numbers:
            return to_shares(outputs) if self.task.target.composition else outputs
        if self.task.kind.has_several:
            constant = np.array([isinstance(model, float) for model in self.models])
            return np.where(constant, outputs, expit(outputs))
        predicted = np.zeros((*outputs.shape[:-1], len(self.task.classes)))
        model = self.models[0]
        if isinstance(model, float):
            predicted[..., int(model)] = 1
        elif outputs.shape[-1] == 1:  # of two classes, one regression
            second = expit(outputs[..., 0])
            predicted[..., model.classes_.astype(int)] = np.stack([1 - second, second], axis=-1)
        else:
            predicted[..., model.classes_.astype(int)] = softmax(outputs, axis=-1)
        return predicted

    def predict(self, features: Array) -> Array:
        """Probabilities or numbers of samples, (n, classes)."""
        scaled = self.scaler.transform(features)
        if self.task.kind.is_numbers:
            numbers: Array = self.models[0].predict(scaled).reshape(len(features), -1)
            return to_shares(numbers) if self.task.target.composition else numbers
        predicted = np.zeros((len(features), len(self.task.classes)))
        if self.task.kind.has_several:
            for number, model in enumerate(self.models):
                predicted[:, number] = _probability_of_one(model, scaled)
        elif isinstance(self.models[0], LogisticRegression):
            predicted[:, self.models[0].classes_.astype(int)] = self.models[0].predict_proba(scaled)
        else:
            predicted[:, int(self.models[0])] = 1
        return predicted


class LinearHeads:
    """A linear model on each head's features; of those heads that decide on a sample, the mean is predicted.

    Features are NaN where a head does not decide.
    """

    def __init__(self, task: Task, features: Sequence[Array], truth: Array, strength: float) -> None:
        self.task = task
        self.strength = strength
        self.models: list[Linear | None] = []
        for each in features:
            rows = np.isfinite(each).all(axis=1)
            self.models.append(Linear(task, each[rows], truth[rows], strength) if rows.any() else None)

    @property
    def converged(self) -> bool:
        """Whether the best model of every head was found."""
        return all(model is None or model.converged for model in self.models)

    def predict(self, features: Sequence[Array]) -> Array:
        """Probabilities or numbers of samples, (n, classes); the constant where no head decides that has learned anything."""
        constant: Array = self.task.constant.reshape(1, -1)
        total = np.zeros((len(features[0]), constant.shape[1]))
        count = np.zeros((len(features[0]), 1))
        for model, each in zip(self.models, features, strict=True):
            rows = np.isfinite(each).all(axis=1)
            if model is not None and rows.any():
                total[rows] += model.predict(each[rows])
                count[rows] += 1
        return np.asarray(np.where(count > 0, total / np.maximum(count, 1), constant))


def fit_linear(control: Control, task: Task, features: Sequence[Array], truth: Array, strength: float) -> LinearHeads:
    """A linear model on each head's features; the control notes if one did not converge."""
    models = LinearHeads(task, features, truth, strength)
    if not models.converged:
        found = f"a linear model of '{task.name}' did not converge in {MOST_ITERATIONS:,} iterations"
        control.note(f"{found}: it may be worth more than it shows")
    return models


def to_shares(numbers: Array) -> Array:
    """Numbers (…, classes) as shares that sum to 1."""
    shares = np.clip(numbers, 1e-9, None)
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))


def _probability_of_one(model: LogisticRegression | float, features: Array) -> Array | float:
    if isinstance(model, float):
        return model
    predicted: Array = model.predict_proba(features)[:, 1]
    return predicted
