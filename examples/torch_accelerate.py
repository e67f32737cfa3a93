"""From torch.nn to backstride in one line: a generator before and after `accelerate`."""

import torch
from torch import nn

import backstride.torch

generator = nn.Sequential(
    nn.ConvTranspose2d(100, 128, 4, bias=False),
    nn.BatchNorm2d(128),
    nn.ReLU(),
    nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.ConvTranspose2d(64, 3, 4, 2, 1),
    nn.Tanh(),
).eval()
noise = torch.randn(4, 100, 1, 1)
with torch.no_grad():
    before = generator(noise)

generator, report = backstride.torch.accelerate(generator)

print(report)
with torch.no_grad():
    after = generator(noise)
print("largest difference below 1e-5:", bool((after - before).abs().max() < 1e-5))

# Training goes on with the same optimizer, parameters and state dict; changed weights are packed
# anew.
optimizer = torch.optim.Adam(generator.parameters())
generator.train()(noise).square().mean().backward()
optimizer.step()

backstride.torch.restore(generator)
print("restored:", type(generator[0]) is nn.ConvTranspose2d)
