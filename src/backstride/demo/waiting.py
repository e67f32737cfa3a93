"""PyTorch loaded so that its threads sleep while they wait for each other.

By default OpenMP's threads spin, which gains little and, where other programs want the same cores,
costs a lot: on two shared cores, small training steps took six times as long. The policy is read
once, when the library is loaded.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from backstride.demo.digits import required

VARIABLE = "OMP_WAIT_POLICY"


def load_torch() -> ModuleType:
    """PyTorch.

    The environment is as before afterwards; nothing is changed if it was loaded, or the policy set.
    """
    if "torch" in sys.modules or VARIABLE in os.environ:
        return required("torch")
    os.environ[VARIABLE] = "passive"
    try:
        return required("torch")
    finally:
        del os.environ[VARIABLE]
