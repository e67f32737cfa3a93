"""How well label maps agree.

The confusion matrix and the intersection over union of every class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]


def confusion(truth: NDArray[np.integer], found: NDArray[np.integer], classes: int) -> Matrix:
    """Count pixels by true class (row) and found class (column).

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    pairs = truth.astype(np.int64).ravel() * classes + found.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(matrix: Matrix) -> NDArray[np.float64]:
    """Of each class, the pixels that are and were found it, over those that are or were found it.

    >>> intersection_over_union(np.array([[1, 1], [0, 1]]))
    array([0.5, 0.5])

    A class that is nowhere has NaN. Everingham et al., "The PASCAL VOC Challenge" (2010), section
    4.3.
    """
    both = np.diag(matrix)
    either = matrix.sum(0) + matrix.sum(1) - both
    return np.divide(both, either, out=np.full(len(matrix), np.nan), where=either > 0)
