"""PyTorch's transposed convolutions on Backstride's engine.

Functions, modules, and one call for a whole model.
"""

from backstride.torch.acceleration.accelerate import Accelerated, accelerate, restore
from backstride.torch.acceleration.report import Report, Row
from backstride.torch.layers.functional import conv_transpose1d, conv_transpose2d, conv_transpose3d
from backstride.torch.layers.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from backstride.torch.operator import threads
from backstride.torch.operator.fusion import forget, fuse_conv_bn_eval, fuse_conv_bn_weights

__all__ = [
    "Accelerated",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Report",
    "Row",
    "accelerate",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "forget",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "restore",
]

_ = threads.share()
