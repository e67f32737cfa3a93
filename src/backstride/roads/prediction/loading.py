"""From a file to a predictor; in a process of its own where a cluster asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backstride.roads.meaning import Meaning
from backstride.roads.prediction.predictor import Predictor

RUNTIMES = ("torch", "onnx")


@dataclass(frozen=True)
class Loader:
    """`checkpoint`: a file, or a run's folder.

    `device`, `runtime`: None goes by the file, on the CPU. `encoder`: see
    `backstride.roads.network.checkpoint.load`.

    Raises `ValueError` for a checkpoint that does not exist, and for other devices and runtimes.
    """

    given: Path
    device_given: str | None = None
    runtime_given: str | None = None
    encoder: str | None = None

    def __post_init__(self) -> None:
        if self.runtime_given not in (None, *RUNTIMES):
            message = f'`runtime` (={self.runtime_given!r}) must be "torch" or "onnx"'
            raise ValueError(message)
        if self.device not in ("cpu", "cuda"):
            message = f'`device` (={self.device!r}) must be "cpu" or "cuda"'
            raise ValueError(message)
        if not self.checkpoint.is_file():
            message = f"`checkpoint` (={str(self.given)!r}) does not exist"
            raise ValueError(message)
        if self.runtime == "torch" and self.checkpoint.suffix == ".onnx":
            message = (
                f'`runtime` (="torch") cannot run {self.checkpoint}; name the checkpoint that it '
                "was exported from"
            )
            raise ValueError(message)

    @property
    def checkpoint(self) -> Path:
        """The file itself: of a run's folder the best, or else the last."""
        if not self.given.is_dir():
            return self.given
        from backstride.roads.network.checkpoint import found  # noqa: PLC0415  loads torch

        return found(self.given)

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.device_given or "cpu"

    @property
    def runtime(self) -> str:
        """What runs it."""
        return self.runtime_given or ("onnx" if self.given.suffix == ".onnx" else "torch")

    def meaning(self) -> Meaning:
        """What the scores mean; no weights are read for it."""
        if self.checkpoint.suffix == ".onnx":
            from backstride.roads.prediction.onnx_predictor import meaning_of  # noqa: PLC0415  loads ONNX Runtime

            return meaning_of(self.checkpoint)
        from backstride.roads.network import checkpoint  # noqa: PLC0415  loads torch

        return checkpoint.meaning_of(self.checkpoint)

    def load(self) -> Predictor:
        """Load the network; a checkpoint is exported first where ONNX Runtime is to run it."""
        if self.runtime == "onnx":
            from backstride.roads.prediction.onnx_predictor import OnnxPredictor  # noqa: PLC0415  loads ONNX Runtime

            if self.checkpoint.suffix == ".onnx":
                return OnnxPredictor(
                    self.checkpoint.read_bytes(), self.device, str(self.checkpoint)
                )
            from backstride.roads.prediction.export import exported  # noqa: PLC0415  loads torch

            return OnnxPredictor(
                exported(self.checkpoint, self.encoder), self.device, str(self.checkpoint)
            )
        from backstride.roads.network.checkpoint import load  # noqa: PLC0415  loads torch
        from backstride.roads.prediction.torch_predictor import TorchPredictor  # noqa: PLC0415  the same

        network, config = load(self.checkpoint, self.encoder)
        return TorchPredictor(network, self.device, config.data.size, config.model.classes)
