"""Run a Keras model on NumPy arrays (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from backstride.layout import AnyArray
from backstride.surgery.decoding.influence import Influence, from_json, of_one_size
from backstride.surgery.keras.calls import heads_of
from backstride.surgery.keras.decoder import COARSE, RESULT
from backstride.surgery.keras.file import load
from backstride.surgery.keras.layers import Coarse
from backstride.surgery.keras.library import Model, keras
from backstride.surgery.model.heads import Choice

Images: TypeAlias = AnyArray


def runner(model: Model, output: int = 0, *, coarse: bool = True) -> Callable[[Images], Images]:
    """A function from a batch of images to result number `output`.

    Of a transposed network, its coarse scores.
    """
    names = {layer.name for layer in model.layers}
    last: Callable[[object], object] | None = None
    if coarse and COARSE in names:
        last = getattr(model.get_layer(RESULT), "activation", None) if RESULT in names else None
        model = Model(model.input, model.get_layer(COARSE).output)

    def run(images: Images) -> Images:
        data = keras.ops.convert_to_tensor(
            np.ascontiguousarray(images.transpose(0, 2, 3, 1), np.float32)
        )
        result = keras.tree.flatten(model(data, training=False))[output]
        if last is not None:
            result = last(result)
        found = np.asarray(keras.ops.convert_to_numpy(result))
        return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found

    return run


def pixel_network(
    path: Path, head: str | int | None = None
) -> tuple[Callable[[Images], Images], int, Influence | None]:
    """A network's file as a function of images (N, C, H, W), C, and what the file says for tiling.

    `head`: which result, where it has several.
    """
    model = load(path)
    shape = model.inputs[0].shape
    channels = shape[3] if len(shape) == 4 else None
    if len(model.inputs) != 1 or channels is None or any(shape[1:3]):
        raise of_one_size(path)
    found = next((layer for layer in model.layers if isinstance(layer, Coarse)), None)
    known = from_json(found.influence) if found is not None and found.influence else None
    chosen = Choice(head, needed=True).among(path.name, heads_of(model))
    return runner(model, 0 if chosen is None else chosen.place, coarse=False), channels, known
