"""Saves and loads models: `save_model`, `load_model`.

A model is a folder of two files: `model.safetensors` holds the weights, `model.json` the specification and digests
of both. Nothing in them is code. The head of `model.safetensors` holds what the weights have learned
from, so that a copy of the file keeps it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from eofuse.errors import DataError, EofuseError
from eofuse.files import read_json, replacing, sha256, write_text
from eofuse.models.model import Model, ModelSpec, build_model
from eofuse.records import SEAL, seal_is_whole, sealed

WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"
FORMAT = "eofuse-model"
VERSION = 1
HISTORY_KEY = "eofuse_history"
"""The only metadata of the weights: several would be written in no fixed order."""


def save_model(model: Model, folder: str | os.PathLike[str]) -> Path:
    """Writes a model into a folder, which is made where it is missing, and returns the folder.

    Each file is replaced as a whole; the digest in `model.json` tells if they do not belong together.
    """
    folder = Path(folder)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with replacing(folder / WEIGHTS) as temporary:
        metadata = {HISTORY_KEY: model.history} if model.history else None
        temporary.write_bytes(save(weights, metadata))  # the library's own writer hides what the system says
    description = {
        "format": FORMAT,
        "version": VERSION,
        "weights_sha256": sha256(folder / WEIGHTS),
        "spec": model.spec.to_dict(),
    }
    write_text(
        folder / DESCRIPTION, json.dumps(sealed(description), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    return folder


def load_model(folder: str | os.PathLike[str], map_location: str | torch.device = "cpu") -> Model:
    """Reads a model that `save_model` wrote, in evaluation mode; its predictions are the same bit for bit.

    Args:
        folder: where it was saved.
        map_location: the device on which it is wanted.

    Raises:
        DataError: if a file is missing, damaged, foreign, or of another format version.
    """
    folder = Path(folder)
    description = _read_description(folder / DESCRIPTION)
    weights = _read_weights(folder / WEIGHTS, description)
    try:
        model = build_model(ModelSpec.from_dict(description["spec"]), seed=0)
        model.load_state_dict(weights)
    except EofuseError as error:
        raise DataError(f"describes no model that can be built: {error}", where=folder / DESCRIPTION) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"describes no model ({error!r})", where=folder / DESCRIPTION) from error
    except RuntimeError as error:
        raise DataError(f"does not fit {DESCRIPTION}: {error}", where=folder / WEIGHTS) from error
    model.history = read_history(folder / WEIGHTS)
    return model.to(map_location).eval()


def read_history(path: str | os.PathLike[str]) -> str:
    """What the weights of a safetensors file have learned from, as text; empty where the file does not say it, or is no such file."""
    try:
        with safe_open(path, framework="pt") as file:
            return str((file.metadata() or {}).get(HISTORY_KEY, ""))
    except (OSError, SafetensorError):
        return ""


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = read_json(path)
    except OSError as error:
        fix = "name the folder of a saved model"
        raise DataError(f"can't be read: {error.strerror}", where=path, fix=fix) from None
    except ValueError as error:
        raise DataError(f"is not JSON: {error}", where=path, fix="save the model again") from None
    if not isinstance(description, Mapping) or description.get("format") != FORMAT:
        raise DataError("is not the description of an eofuse model", where=path)
    if description.get("version") != VERSION:
        what = f"has the format version {description.get('version')}; this eofuse reads {VERSION}"
        raise DataError(what, where=path, fix="use the version of eofuse that wrote it")
    if SEAL in description and not seal_is_whole(description, ()):  # older versions wrote none
        raise DataError("has changed since it was written: its digest differs", where=path, fix="save the model again")
    return dict(description)


def _read_weights(path: Path, description: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    try:
        if sha256(path) != description.get("weights_sha256"):
            raise DataError(f"is not the file that {DESCRIPTION} describes", where=path, fix="save the model again")
        return load_file(path)
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", where=path, fix="save the model again") from None
    except SafetensorError as error:
        raise DataError(f"is damaged: {error}", where=path, fix="save the model again") from None
