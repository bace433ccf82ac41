"""What a reader of an exported model must know to use it: `describe`, inside the file, and `stac_item`, beside it."""

import math
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from eofuse import __version__
from eofuse.export.graph import output_name
from eofuse.files import sha256
from eofuse.kinds import Place, TaskKind
from eofuse.modalities import Modality
from eofuse.models.artifact import WEIGHTS
from eofuse.models.heads import HeadSpec
from eofuse.models.model import ModelSpec
from eofuse.stac import CLASSIFICATION, STAC_VERSION, class_objects

FORMAT = "eofuse-export"
VERSION = 1
BATCH = "batch"

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
ALWAYS = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}
"""A model is not of a day; the extension recommends these."""

MLM_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_. -]+[a-zA-Z0-9]")
"""What the extension takes as the name of a model."""


def describe(spec: ModelSpec, models: Sequence[Path], source: str, *, simulated: bool) -> dict[str, Any]:
    """Inputs, outputs and origin of an exported model, ready for JSON.

    Args:
        spec: of the model, or of several that predict together.
        models: the folders of the saved models.
        source: which runs they are of, in words.
        simulated: whether they learned from simulated data.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "eofuse": __version__,
        "source": source,
        "weights_sha256": [sha256(folder / WEIGHTS) for folder in models],
        "simulated": simulated,
        "patch_size": list(spec.patch_size),
        "empty_bands": spec.empty_bands,
        "inputs": [_input(modality, spec.patch_size) for modality in spec.modalities],
        "outputs": [_output(target, head, spec.patch_size) for target, head in spec.heads.items()],
    }


def _input(modality: Modality, patch_size: tuple[int, int]) -> dict[str, Any]:
    """How an input is laid out; physical values are stored ones × scale + offset."""
    described: dict[str, Any] = {
        "name": modality.name,
        "title": modality.title,
        "kind": str(modality.kind),
        "shape": [BATCH, *modality.shape(patch_size)],
        "dtype": modality.dtype,
        "channels": [{"name": channel.name, "unit": channel.unit} for channel in modality.channels],
        "scale": modality.scale,
        "offset": modality.offset,
        "nodata": modality.nodata if modality.nodata is None or math.isfinite(modality.nodata) else None,
    }
    if modality.categories:
        described["categories"] = {str(category.code): category.name for category in modality.categories}
    if modality.steps:
        described["times"] = "first column; days since 1970-01-01" if modality.dated else "first column; step from 0"
    return described


def _output(target: str, head: HeadSpec, patch_size: tuple[int, int]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": output_name(target, head),
        "target": target,
        "kind": head.kind.name,
        "meaning": head.kind.words,
        "shape": [BATCH, len(head.classes), *(patch_size if head.kind.is_map else ())],
        "dtype": "float32",
        "classes": list(head.classes),
        "unit": head.unit,
    }
    if head.kind.has_probabilities:
        described["temperature"] = head.temperature
    if head.codes:
        described["codes"] = list(head.codes)
    if head.margin:
        described["interval_90_half_width"] = list(head.margin)
    return described


def stac_item(path: Path, description: Mapping[str, Any], spec: ModelSpec, parameters: int) -> dict[str, Any]:
    """A STAC item of an exported file, with the Machine Learning Model extension (https://github.com/stac-extensions/mlm).

    Args:
        path: of the file.
        description: as `describe` gives it.
        spec: of the model.
        parameters: how many numbers it has.
    """
    is_onnx = path.suffix == ".onnx"
    inputs = [_mlm_input(entry) for entry in description["inputs"]]
    bands = _bands(description["inputs"], inputs)  # STAC wants them with the asset, the extension with the item
    outputs = [_mlm_output(entry, spec.heads[entry["target"]]) for entry in description["outputs"]]
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [MLM, CLASSIFICATION],
        "id": path.stem,
        "geometry": None,
        "properties": {
            "datetime": None,
            **ALWAYS,
            "description": f"{description['source']}, exported by eofuse {__version__}",
            **bands,
            "mlm:name": _mlm_name(path.stem),
            "mlm:architecture": f"{spec.fusion.strategy} fusion, {spec.fusion.encoder}",
            "mlm:tasks": sorted({task for output in outputs for task in output["tasks"]}),
            "mlm:framework": "ONNX" if is_onnx else "PyTorch",
            **_framework_version("onnx" if is_onnx else "torch"),
            "mlm:total_parameters": parameters,
            "mlm:batch_size_suggestion": 16,
            "mlm:input": inputs,
            "mlm:output": outputs,
            "eofuse:simulated": description["simulated"],
            "eofuse:weights_sha256": description["weights_sha256"],
        },
        "links": [],
        "assets": {
            "model": {
                "href": f"./{quote(path.name)}",
                "type": "application/octet-stream",
                "title": "ONNX" if is_onnx else "program of torch.export",
                "roles": ["mlm:model"],
                "mlm:artifact_type": "onnx" if is_onnx else "torch.export.save",
                **bands,
            }
        },
    }


def _mlm_name(stem: str) -> str:
    """The name of a file in those letters that the extension takes."""
    name = re.sub(r"[^a-zA-Z0-9_.-]+", "-", stem).strip("-_.")
    return name if MLM_NAME.fullmatch(name) else f"eofuse-{name or 'model'}"


def _framework_version(library: str) -> dict[str, str]:
    """The version of a library where it is one of three numbers, which the extension wants."""
    numbers = re.match(r"\d+\.\d+\.\d+", version(library))
    return {"mlm:framework_version": numbers[0]} if numbers else {}


def _bands(described: Sequence[Mapping[str, Any]], inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The bands to which inputs refer, as STAC describes bands, where there are any."""
    found = [
        {
            "name": channel["name"],
            "description": f"{entry['title']}, {channel['name']}",
            "data_type": entry["dtype"],
            **({"unit": channel["unit"]} if channel["unit"] else {}),
        }
        for entry, referring in zip(described, inputs, strict=True)
        if referring["bands"]
        for channel in entry["channels"]
    ]
    return {"bands": found} if found else {}


def _mlm_input(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An input; a dimension of bands has one for each of them, so the first column of a series makes it one of channels."""
    axes = {
        4: ["batch", "bands", "height", "width"],
        3: ["batch", "time", "channel"],
        2: ["batch", "bands"],
        1: ["batch"],
    }
    shape, names = [-1, *entry["shape"][1:]], [channel["name"] for channel in entry["channels"]]
    order, words = axes[len(shape)], "values as they are stored: the model normalises them itself"
    if "times" in entry:
        words = f"{words}; channels are the time ({entry['times']}), {', '.join(names)}"
    elif "categories" in entry:
        words = "codes of categories as they are stored"
    return {
        "name": entry["name"],
        "description": words,
        "bands": names if "bands" in order else [],
        "input": {"shape": shape, "dim_order": order, "data_type": entry["dtype"]},
        "value_scaling": None,
        "resize_type": None,
    }


def _mlm_output(entry: Mapping[str, Any], head: HeadSpec) -> dict[str, Any]:
    shape = [-1, *entry["shape"][1:]]
    first = "regression" if head.kind.is_numbers else "class"
    described: dict[str, Any] = {
        "name": entry["name"],
        "description": f"{head.kind.words}, {'numbers' if head.kind.is_numbers else 'calibrated probabilities'}",
        "tasks": [_mlm_task(head.kind)],
        "result": {
            "shape": shape,
            "dim_order": ["batch", first, "height", "width"][: len(shape)],
            "data_type": "float32",
        },
    }
    if not head.kind.is_numbers:
        codes = head.codes or range(len(head.classes))
        described["classification:classes"] = class_objects(dict(zip(codes, head.classes, strict=True)))
    return described


def _mlm_task(kind: TaskKind) -> str:
    if kind.is_numbers:
        return "regression"
    return "scene-classification" if kind.place is Place.PATCH else "semantic-segmentation"
