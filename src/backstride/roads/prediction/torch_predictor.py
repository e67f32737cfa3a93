"""A trained PyTorch network as a predictor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from backstride.pictures.tiles import Span, extended, free_memory, tiles
from backstride.roads.prediction.folding import folded
from backstride.roads.prediction.pooling import Pooling, holding, poolings, settled
from backstride.roads.prediction.predictor import ROAD, Pictures, Predictor
from backstride.surgery.decoding.influence import Influence
from backstride.surgery.torch.decoder import Segmenter
from backstride.torch import accelerate


class TorchPredictor:
    """Runs a network that gives logits, or probabilities where it ends in a softmax, on one device.

    The network is copied, its batch norms folded, its transposed convolutions put on the engine (on
    the CPU), and its maps kept channels last. `size`, `classes`: see `Predictor`.
    """

    def __init__(
        self, network: nn.Module, device: str = "cpu", size: Sequence[int] = (), classes: int = 2
    ) -> None:
        self.classes = classes
        self.device = check_device(device)
        self.size = tuple(size)
        self.segmenter = segmenter_of(network)
        self.known: Influence = self.segmenter.influence
        made = folded(network)
        self._poolings = poolings(made)
        move: Callable[..., nn.Module] = accelerate(
            made, measure=False
        ).model.to  # untyped for formats
        self.network = move(self.device, memory_format=torch.channels_last)

    def __call__(self, pictures: Pictures) -> NDArray[np.float32]:
        """See `Predictor`."""
        with torch.inference_mode():
            # (n, rows, columns, 3) seen as (n, 3, rows, columns) is channels last already
            images = torch.as_tensor(
                np.require(pictures, requirements=["C", "W"]), device=self.device
            ).permute(0, 3, 1, 2)
            return shares(self.network(images.float().div_(255))).cpu().numpy()

    def free(self) -> int:
        """Bytes that the device has left."""
        if self.device == "cuda":
            return int(torch.cuda.mem_get_info()[0])
        return free_memory()

    def settle(self, pictures: Pictures, tile: int) -> Predictor:
        """See `Predictor`."""
        images = extended(pictures.transpose(0, 3, 1, 2), self.known).transpose(0, 2, 3, 1)

        def run(at: tuple[Span, Span]) -> None:
            _ = self(images[:, at[0].start : at[0].end, at[1].start : at[1].end])

        places = tiles((images.shape[1], images.shape[2]), tile, self.known)
        return _Settled(self, self._poolings, settled(self._poolings, run, places, self.known))


class _Settled:
    """A predictor whose poolings hold what they gave on whole pictures."""

    def __init__(
        self, whole: TorchPredictor, layers: Sequence[Pooling], values: Sequence[torch.Tensor]
    ) -> None:
        self.known, self.device, self.size, self.classes = (
            whole.known,
            whole.device,
            whole.size,
            whole.classes,
        )
        self._whole, self._layers, self._values = whole, layers, values

    def __call__(self, pictures: Pictures) -> NDArray[np.float32]:
        with holding(self._layers, self._values):
            return self._whole(pictures)

    def free(self) -> int:
        return self._whole.free()

    def settle(self, pictures: Pictures, tile: int) -> Predictor:
        return self._whole.settle(pictures, tile)


def shares(logits: torch.Tensor) -> torch.Tensor:
    """The probabilities of a `Predictor` from logits (n, classes, rows, columns)."""
    if logits.shape[1] == 2:  # softmax of two is the sigmoid of their difference
        return (logits[:, ROAD] - logits[:, 1 - ROAD]).sigmoid()
    return logits.softmax(1)


def segmenter_of(network: nn.Module) -> Segmenter:
    """The part that `backstride.transpose` made; raises `ValueError` where there is none."""
    for module in network.modules():
        if isinstance(module, Segmenter):
            return module
    message = f"`network` (={type(network).__name__}) holds nothing that backstride.transpose made"
    raise ValueError(message)


def check_device(device: str) -> str:
    """The device to run on; raises `ValueError` where it is not there."""
    if device not in ("cpu", "cuda"):
        message = f'`device` (={device!r}) must be "cpu" or "cuda"'
        raise ValueError(message)
    if device == "cuda" and not torch.cuda.is_available():
        message = (
            '`device` (="cuda") is not there: PyTorch sees no GPU; the nearest legal value is "cpu"'
        )
        raise ValueError(message)
    return device
