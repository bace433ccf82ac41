"""Writes a trained model as one file that runs without eofuse: `export_model`.

`.onnx` is for onnxruntime and what else reads ONNX, `.pt2` for `torch.export.load`. What is written is read back and compared with
the model, before it gets its name.
"""

import io
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram, export, load, save
from torch.fx import GraphModule

from eofuse.data.store import open_store
from eofuse.errors import DataError, EofuseError, UsageError
from eofuse.export.description import BATCH, describe, stac_item
from eofuse.export.graph import INSTEAD, PredictStored, output_name, refuse
from eofuse.export.samples import random_inputs, stored_inputs
from eofuse.files import replacing, write_text
from eofuse.inference.ensemble import Ensemble, load_ensemble
from eofuse.learning.run import MODEL_FOLDER, open_last
from eofuse.progress import Progress
from eofuse.studies.choice import predicting_runs

AnyPath = str | os.PathLike[str]
Inputs = dict[str, Tensor]
Runner = Callable[[Inputs], Mapping[str, Tensor]]

TOLERANCE = 1e-4
"""Largest difference of a probability, or of a number in standard deviations of the training patches."""

METADATA_KEY = "eofuse"
"""Of the description in the metadata of an ONNX file."""

EXTRA_FILE = "eofuse.json"
"""Of the description in a file of `torch.export`."""

LARGEST_ONNX = 2**31 - 2**24
"""Bytes of weights that fit in one ONNX file."""

LARGEST_CHECKED = 3
"""Patches in the larger of two batches on which a file is compared with the model; the smaller has one."""


@dataclass(frozen=True)
class Exported:
    """A model that was written.

    Attributes:
        path: the file.
        metadata: the STAC item beside it.
        description: what the file says of inputs, outputs and origin.
        checked: on which patches it was compared with the model, in words.
        difference: the largest one found there (see `TOLERANCE`).
    """

    path: Path
    metadata: Path
    description: Mapping[str, Any]
    checked: str
    difference: float


def export_model(
    run: AnyPath,
    output: AnyPath,
    *,
    variant: str | None = None,
    seed: int | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Writes a trained run, or the best variant of a study, as one file that runs without eofuse.

    Values go in as a store holds them; normalisation, missing values, calibration and the mean over several runs are in the file. The
    batch size is free. Beside it lies a STAC item, `<name>.json`.

    Args:
        run: folder of a run or study.
        output: the file, `.onnx` or `.pt2`; an older one is replaced when the new one is complete.
        variant: of a study, in place of the one with the best validation score.
        seed: of a study: the run with this seed alone.
        progress: called with (steps done, steps in all).

    Raises:
        UsageError: if the model has no fixed graph (the message says why), the name ends otherwise, or a library is missing.
        DataError: if the file predicts something else than the model.
    """
    path = Path(output)
    _check_output(path)
    folders, source = predicting_runs(Path(run), variant, seed)
    runs = [open_last(folder) for folder in folders]
    models = [one.folder / MODEL_FOLDER for one in runs]
    ensemble = load_ensemble(models)
    refuse(ensemble)
    simulated = any(one.is_simulated for one in runs)
    source = source.replace(
        str(Path(run)), Path(run).resolve().name
    )  # a file that goes elsewhere names no folder of this machine
    description = describe(ensemble.spec, models, source, simulated=simulated)
    stored, checked = _stored(ensemble, runs[0].options.data.store)
    difference = write_graph(ensemble, path, description, stored, progress)
    item = path.with_name(f"{path.name}.json")
    parameters = sum(parameter.numel() for model in ensemble.models for parameter in model.parameters())
    values = stac_item(path, description, ensemble.spec, parameters)
    write_text(item, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return Exported(path, item, description, checked, difference)


def write_graph(
    ensemble: Ensemble,
    path: Path,
    description: Mapping[str, Any],
    stored: Inputs | None = None,
    progress: Progress | None = None,
) -> float:
    """Writes models as one file, after it was compared with them on random and on stored values.

    Args:
        ensemble: the models.
        path: the file, `.onnx` or `.pt2`.
        description: what the file says of itself.
        stored: patches on which it is compared, besides random ones.
        progress: called with (steps done, steps in all).

    Returns:
        The largest difference that was found (see `TOLERANCE`).

    Raises:
        UsageError: if the models have no fixed graph.
        DataError: if the file predicts something else than the models.
    """
    refuse(ensemble)
    tell = progress or (lambda done, total: None)
    network, random = PredictStored(ensemble), random_inputs(ensemble.spec, LARGEST_CHECKED)
    tell(0, 3)
    program = _trace(network, {name: values[:2] for name, values in random.items()})
    tell(1, 3)
    content, predict = WRITERS[path.suffix](program, description, path)
    tell(2, 3)
    scales = {output_name(name, head): head.std for name, head in ensemble.spec.heads.items()}
    difference = max(_difference(network, predict, inputs, scales) for inputs in (random, stored) if inputs)
    if not difference <= TOLERANCE:
        what = f"the file predicts something else than the model (by {difference:.2g}), so it is not written"
        raise DataError(what, where=path, fix=INSTEAD)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    tell(3, 3)
    return difference


def _check_output(path: Path) -> None:
    """Raises a `UsageError` if a file can't be written under this name, or a library for it is missing."""
    if path.suffix not in WRITERS:
        what = f"unknown kind of model file '{path.suffix}'"
        raise UsageError(what, where=path, fix=f"end the name in {' or '.join(WRITERS)}")
    if path.is_dir():
        raise UsageError("is a folder", where=path, fix="name a file in it")
    if path.suffix == ".onnx":
        for library in ("onnx", "onnxruntime", "onnxscript"):
            if find_spec(library) is None:
                raise UsageError(f"ONNX is written by {library}", where=path, fix="pip install 'eofuse[export]'")


def _stored(ensemble: Ensemble, place: str) -> tuple[Inputs, str]:
    """Patches on which a model is compared, and which these are, in words; none where the store it learned from has gone."""
    try:
        store = open_store(place)
        found = stored_inputs(ensemble, store, LARGEST_CHECKED)
    except (EofuseError, OSError):
        return {}, "random values"
    return found, f"patches of {store.path.name} and random values" if found else "random values"


def _trace(network: PredictStored, inputs: Inputs) -> ExportedProgram:
    """The network as a program for any number of patches, without the paths of this machine."""
    batch = Dim(BATCH)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            program = export(network, (inputs,), dynamic_shapes=({name: {0: batch} for name in inputs},))
        except Exception as error:  # whatever a network does that has no fixed graph
            reason = str(error).strip().partition("\n")[0]
            what = f"the model can't be exported: torch.export finds no fixed graph ({reason})"
            raise UsageError(what, fix=INSTEAD) from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def _name_the_batch(values: Sequence[Any]) -> None:
    """Gives the free dimension its name, in place of a symbol that differs from export to export."""
    symbol = values[0].shape[0].value
    for value in values:
        for axis, size in enumerate(value.shape or ()):
            if getattr(size, "value", None) == symbol:
                value.shape[axis] = BATCH


def _onnx(program: ExportedProgram, description: Mapping[str, Any], path: Path) -> tuple[bytes, Runner]:
    """An ONNX file, and what it predicts when it is read."""
    from onnxruntime import InferenceSession

    inputs, outputs = ([entry["name"] for entry in description[part]] for part in ("inputs", "outputs"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False)
    assert written is not None
    model: Any = written.model
    model.producer_name, model.producer_version = "eofuse", description["eofuse"]
    model.doc_string = str(description["source"])
    model.metadata_props.clear()
    model.metadata_props[METADATA_KEY] = json.dumps(description, ensure_ascii=False)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    _name_the_batch([*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)])
    if sum(value.const_value.nbytes for value in model.graph.initializers.values()) > LARGEST_ONNX:
        raise UsageError("the weights don't fit in an ONNX file (2 GB)", where=path, fix="export to .pt2")
    content = written.model_proto.SerializeToString()
    session = InferenceSession(content, providers=["CPUExecutionProvider"])

    def predict(batch: Inputs) -> dict[str, Tensor]:
        found = session.run(outputs, {name: batch[name].numpy() for name in inputs})
        return {name: torch.from_numpy(values) for name, values in zip(outputs, found, strict=True)}

    return content, predict


def _pt2(program: ExportedProgram, description: Mapping[str, Any], path: Path) -> tuple[bytes, Runner]:
    """A file of `torch.export`, and what it predicts when it is read."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(program, buffer, extra_files={EXTRA_FILE: json.dumps(description, ensure_ascii=False)})
        module = load(io.BytesIO(buffer.getvalue())).module()
    return buffer.getvalue(), module


WRITERS = {".onnx": _onnx, ".pt2": _pt2}
"""How a file is written, by the end of its name."""


def _difference(
    network: PredictStored, predict: Runner, inputs: Inputs, scales: Mapping[str, Sequence[float]]
) -> float:
    """The largest difference between a file and the model on a batch and its first patch alone, in units of the scales."""
    largest = 0.0
    for count in (len(next(iter(inputs.values()))), 1):
        batch = {name: values[:count] for name, values in inputs.items()}
        with torch.no_grad():
            expected, found = network(batch), predict(batch)
        for name, values in expected.items():
            if found[name].shape != values.shape or not bool((found[name].isnan() == values.isnan()).all()):
                return float("inf")
            scale = torch.tensor(scales[name] or [1.0]).clamp(min=1e-12).view(1, -1, *(1 for _ in values.shape[2:]))
            largest = max(largest, float(((found[name] - values).nan_to_num() / scale).abs().max()))
    return largest
