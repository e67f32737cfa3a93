"""PyTorch's transposed convolutions on Backstride's engine: functions, modules, and one call for a whole model."""

from backstride.torch.functional import conv_transpose1d, conv_transpose2d, conv_transpose3d
from backstride.torch.packing import forget

__all__ = [
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "forget",
]
