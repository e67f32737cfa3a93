"""An exported network as a predictor, in ONNX Runtime; PyTorch is not loaded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backstride.pictures.tiles import free_memory
from backstride.roads.meaning import KEY as MEANING
from backstride.roads.meaning import MOST_CLASSES, Meaning, unsaid
from backstride.roads.meaning import from_json as from_meaning
from backstride.roads.prediction.predictor import ROAD, Pictures, Predictor
from backstride.surgery.decoding.influence import KEY, from_json

INPUT, OUTPUT = "image", "logits"
SIZE = "backstride.size"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class _Value(Protocol):
    """What ONNX Runtime says of an input or output."""

    name: str
    shape: Sequence[object]


class _Notes(Protocol):
    """What it says of a model."""

    custom_metadata_map: dict[str, str]


class _Session(Protocol):
    """A model in ONNX Runtime, which is untyped: as much of it as is used."""

    def get_inputs(self) -> Sequence[_Value]: ...
    def get_outputs(self) -> Sequence[_Value]: ...
    def get_modelmeta(self) -> _Notes: ...
    def run(
        self, names: Sequence[str], feeds: Mapping[str, NDArray[np.float32]]
    ) -> Sequence[NDArray[np.float32]]: ...


class OnnxPredictor:
    """Runs what `export` wrote. `source`: the name of the file, for messages."""

    def __init__(self, model: bytes, device: str, source: str) -> None:
        self.device = device
        self._session = session(model, device, source)
        notes = self._session.get_modelmeta().custom_metadata_map
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if KEY not in notes or [entry.name for entry in (*inputs, *outputs)] != [INPUT, OUTPUT]:
            message = f"`checkpoint` (={source!r}) was not written by backstride roads export"
            raise ValueError(message)
        self.known = from_json(notes[KEY])
        self.size = _size(notes.get(SIZE, ""), source)
        self.classes = _classes(outputs[0].shape, source)
        meaning = _meaning(notes, source, self.classes)
        if len(meaning.classes) != self.classes:
            message = (
                f"`checkpoint` (={source!r}) names {len(meaning.classes)} classes and has "
                f"{self.classes}"
            )
            raise ValueError(message)

    def __call__(self, pictures: Pictures) -> NDArray[np.float32]:
        """See `Predictor`."""
        images = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32)
        images /= np.float32(255)
        (logits,) = self._session.run([OUTPUT], {INPUT: images})
        return shares(logits)

    def free(self) -> int:
        """Bytes that the machine has left; of a GPU, what all of them have."""
        return free_memory() if self.device == "cpu" else 4 << 30

    def settle(self, pictures: Pictures, tile: int) -> Predictor:
        """Not with ONNX Runtime, which cannot be stopped within the network."""
        message = (
            f"`tile` (={tile}): this network pools whole pictures, of {pictures.shape[1]} x "
            f"{pictures.shape[2]} pixels here, and ONNX Runtime cannot cut them into tiles; use "
            "--runtime torch"
        )
        raise ValueError(message)


def _size(text: str, source: str) -> tuple[int, ...]:
    """Rows and columns in a model's metadata."""
    words = text.split("x") if text else []
    if not all(word.isdecimal() and 0 < int(word) < 2**16 for word in words) or len(words) not in (
        0,
        2,
    ):
        message = (
            f"`checkpoint` (={source!r}) says that it was trained at {text[:40]!r}, which is no "
            "size"
        )
        raise ValueError(message)
    return tuple(map(int, words))


def shares(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of a `Predictor` from logits (n, classes, rows, columns), no overflow."""
    if logits.shape[1] == 2:  # softmax of two is the sigmoid of their difference
        half = np.float32(0.5)
        return half + half * np.tanh(half * (logits[:, ROAD] - logits[:, 1 - ROAD]))
    powers: NDArray[np.float32] = np.exp(logits - logits.max(axis=1, keepdims=True))
    sums: NDArray[np.float32] = powers.sum(axis=1, keepdims=True)
    made: NDArray[np.float32] = powers / sums
    return made


def meaning_of(path: Path) -> Meaning:
    """What the scores of an exported network mean; 0.5 is the threshold where it does not say."""
    opened = session(path.read_bytes(), "cpu", str(path), optimised=False)
    shapes = [entry.shape for entry in opened.get_outputs()]
    classes = _classes(shapes[0] if shapes else (), str(path))
    return _meaning(opened.get_modelmeta().custom_metadata_map, str(path), classes)


def _meaning(notes: dict[str, str], source: str, classes: int) -> Meaning:
    return from_meaning(notes[MEANING], source) if MEANING in notes else unsaid(classes)


def _classes(shape: Sequence[object], source: str) -> int:
    """How many an output (N, classes, H, W) has."""
    classes = shape[1] if len(shape) == 4 else None
    if not isinstance(classes, int) or not 2 <= classes <= MOST_CLASSES:
        message = f"`checkpoint` (={source!r}) was not written by backstride roads export"
        raise ValueError(message)
    return classes


def session(model: bytes, device: str, source: str, *, optimised: bool = True) -> _Session:
    """The model in ONNX Runtime.

    Raises `ValueError` where it cannot run it, or not on this device.
    """
    try:
        runtime = importlib.import_module("onnxruntime")
    except ModuleNotFoundError:
        message = (
            '`runtime` (="onnx") needs ONNX Runtime; install it with: pip install '
            "'backstride[onnx]'"
        )
        raise ImportError(message) from None
    if PROVIDERS[device] not in runtime.get_available_providers():
        message = (
            f"`device` (={device!r}) is not there: ONNX Runtime has no {PROVIDERS[device]}; the "
            'nearest is "cpu"'
        )
        raise ValueError(message)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if not optimised:  # to be asked, not run
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return runtime.InferenceSession(model, options, providers=[PROVIDERS[device]])
    except Exception:  # noqa: BLE001  ONNX Runtime raises every kind
        message = f"`checkpoint` (={source!r}) is no model that ONNX Runtime can run"
        raise ValueError(message) from None
