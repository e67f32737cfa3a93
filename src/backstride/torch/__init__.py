"""PyTorch's transposed convolutions on Backstride's engine: functions, modules, and one call for a whole model."""

from backstride.torch import threads
from backstride.torch.acceleration import Accelerated, accelerate, restore
from backstride.torch.functional import conv_transpose1d, conv_transpose2d, conv_transpose3d
from backstride.torch.fusion import forget, fuse_conv_bn_eval, fuse_conv_bn_weights
from backstride.torch.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from backstride.torch.report import Report, Row

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
