"""Run a Keras model on NumPy arrays (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from backstride.surgery.keras_decoder import COARSE, RESULT

Images = NDArray[Any]


def runner(model: Any, output: int = 0, *, coarse: bool = True) -> Callable[[Images], Images]:
    """A function from a batch of images to result number `output`; of a transposed network, its coarse scores."""
    names = {layer.name for layer in model.layers}
    last: Any = None
    if coarse and COARSE in names:
        last = model.get_layer(RESULT).activation if RESULT in names else None
        model = keras.Model(model.input, model.get_layer(COARSE).output)

    def run(images: Images) -> Images:
        data = keras.ops.convert_to_tensor(np.ascontiguousarray(images.transpose(0, 2, 3, 1), np.float32))
        result: Any = keras.tree.flatten(model(data, training=False))[output]
        if last is not None:
            result = last(result)
        found = np.asarray(keras.ops.convert_to_numpy(result))
        return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found

    return run
