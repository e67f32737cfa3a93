"""Run a PyTorch module on NumPy arrays, in evaluation mode, and leave it as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from backstride.layout import AnyArray
from backstride.surgery.torch.decoder import Segmenter
from backstride.surgery.torch.heads import leaves


def runner(model: nn.Module, output: int = 0) -> Callable[[AnyArray], AnyArray]:
    """A function from a batch of images to result number `output`.

    Of a `Segmenter`, its coarse scores.
    """
    like = next(model.parameters(), torch.empty(0))

    def run(images: AnyArray) -> AnyArray:
        flags = [(module, module.training) for module in model.modules()]
        data = torch.as_tensor(np.ascontiguousarray(images), dtype=like.dtype, device=like.device)
        try:
            _ = model.eval()
            with torch.no_grad():
                results = (
                    model.result(model.coarse(data))
                    if isinstance(model, Segmenter)
                    else model(data)
                )
        finally:
            for module, training in flags:
                module.training = training
        _, chosen = list(leaves(results))[output]
        assert isinstance(chosen, torch.Tensor)
        return chosen.double().cpu().numpy()

    return run
