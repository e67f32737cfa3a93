"""What PyTorch's transposed convolutions lack, by a changed import."""

import torch

import backstride.torch as bt

x = torch.randn(1, 8, 7, 7)

# TensorFlow's "same": twice the size, and the odd pixel on TensorFlow's side.
same = bt.ConvTranspose2d(8, 4, 3, stride=2, padding="same")
print(tuple(same(x).shape), tuple(same(x, output_size=(13, 14)).shape))

# A crop for each side, and zeros appended where it is negative.
print(tuple(bt.ConvTranspose2d(8, 4, 3, stride=2, padding=[(0, 1), (1, -2)])(x).shape))

# The exact adjoint of a circular convolution: a layer that does not see borders.
wrap = bt.ConvTranspose2d(8, 4, 3, padding=1, padding_mode="circular")
print(torch.allclose(wrap(x.roll(3, 2)), wrap(x).roll(3, 2), atol=1e-6))

# More output padding than the stride.
print(tuple(bt.conv_transpose2d(x, same.weight, same.bias, 2, 0, output_padding=5).shape))
