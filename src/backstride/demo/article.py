"""The article's check: a dense layer is a 1x1 convolution, and so are their transposes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backstride.initializers import random_normal
from backstride.ops import conv, conv_transpose, dense

TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class ArticleCheck:
    """Whether the pairs agree within 1e-5, and the article's 16 numbers, row by row."""

    layers_agree: bool
    transposes_agree: bool
    values: tuple[float, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain data."""
        return {
            "dense_equals_conv_1x1": self.layers_agree,
            "transposes_agree": self.transposes_agree,
            "values": [float(f"{value:.8g}") for value in self.values],
        }


def article_check() -> ArticleCheck:
    """Compute the article's first listing.

    >>> check = article_check()
    >>> check.layers_agree, check.transposes_agree, [round(value, 5) for value in check.values[:2]]
    (True, True, [1.91329, 3.30484])
    """
    image = np.random.RandomState(1).random_sample((1, 4, 4, 1)).astype(np.float32)
    weights = random_normal(
        (1, 2), seed=0
    )  # TensorFlow 1's draw; the convolutions' kernels hold the same two
    kernel = weights.reshape(1, 1, 1, 2)
    of_dense: NDArray[np.float32] = dense(image, weights)  # (1, 4, 4, 2)
    of_conv: NDArray[np.float32] = conv(image, kernel)
    up_dense: NDArray[np.float32] = conv_transpose(of_dense, kernel)  # (1, 4, 4, 1)
    up_conv: NDArray[np.float32] = conv_transpose(of_conv, kernel)
    return ArticleCheck(
        np.allclose(of_dense, of_conv, atol=TOLERANCE),
        np.allclose(up_conv, up_dense, atol=TOLERANCE),
        tuple(float(value) for value in up_conv.ravel()),
    )
