"""Pictures and their masks changed at random, by kornia.

As if taken from elsewhere, in other light.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backstride.roads.data.pasted import paste_bonnet, paste_wall
from backstride.roads.sample import IGNORE
from backstride.roads.seeding import kept_stream
from backstride.roads.synthetic.dice import Dice

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Augment:
    """Random changes; 0 leaves one out.

    Of where the camera stands: `flip` left and right so often, `rotation` by up to so many degrees,
    `scale` from its inverse to it, `shift` by up to this share of the picture, `perspective` by up
    to this share at each corner. Of light and camera: `brightness`, `contrast`, `saturation`, `hue`
    and `gamma` by up to so much, `blur` (pixels) and `noise` (of 1) in a quarter of pictures,
    `shadow` so often. Of what stands before the road: the own `bonnet` and a `wall` beside the
    road, painted so often. A picture keeps its size. What comes from outside it is black, and
    IGNORE in the mask; labels are never interpolated.
    """

    flip: float = 0.5
    rotation: float = 4.0
    scale: float = 1.4
    shift: float = 0.1
    perspective: float = 0.1
    brightness: float = 0.25
    contrast: float = 0.25
    saturation: float = 0.3
    hue: float = 0.03
    gamma: float = 0.3
    blur: float = 1.0
    noise: float = 0.03
    shadow: float = 0.2
    bonnet: float = 0.3
    wall: float = 0.3

    def __post_init__(self) -> None:
        for name in (
            "flip",
            "shadow",
            "bonnet",
            "wall",
            "shift",
            "perspective",
            "brightness",
            "contrast",
            "saturation",
            "gamma",
        ):
            if not 0 <= getattr(self, name) <= 1:
                message = f"`{name}` (={getattr(self, name)}) must be from 0 to 1"
                raise ValueError(message)
        for name, low, high in (
            ("rotation", 0, 45),
            ("scale", 1, 4),
            ("hue", 0, 0.5),
            ("blur", 0, 5),
            ("noise", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                message = f"`{name}` (={getattr(self, name)}) must be from {low} to {high}"
                raise ValueError(message)

    def __call__(self, images: Tensor, masks: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) from 0 to 1 and int64 masks (N, H, W), each changed in its own way.

        All follows from `seed`, and from the place in the batch; torch's own random state stays as
        it was.
        """
        import torch  # noqa: PLC0415  those who read labels need none

        chain = self._chain()
        if self.bonnet or self.wall:
            images, masks = self._pasted(images, masks, seed)
        # 0 is what kornia fills with: labels are moved up by one, so that it means IGNORE
        moved = (masks + 1).unsqueeze(1).to(images.dtype)
        with kept_stream(seed), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed, labels = chain(images, moved)
        labels = labels.squeeze(1).round().long() - 1
        return changed.clamp(0, 1), torch.where(labels < 0, IGNORE, labels)

    def one(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One image (rows, columns, 3) and its mask (rows, columns), as data sets give them."""
        import torch  # noqa: PLC0415  the same

        picture = torch.as_tensor(np.array(image.transpose(2, 0, 1), order="C")).float()[None] / 255
        changed, labels = self(picture, torch.as_tensor(np.array(mask)).long()[None], seed)
        pixels = (changed[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        return pixels, labels[0].to(torch.uint8).numpy()

    def _pasted(self, images: Tensor, masks: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """With a wall or a bonnet over some of the images."""
        images, masks = images.clone(), masks.clone()
        views = images.numpy(), masks.numpy()  # what is painted into them stays
        for place in range(len(images)):
            image, mask = views[0][place], views[1][place]
            dice = Dice(np.random.default_rng([seed, 6, place]))
            own = dice.integer(0, 2**31)
            if dice.chance(self.wall):
                paste_wall(image, mask, own)
            if dice.chance(self.bonnet):
                paste_bonnet(image, mask, own)
        return images, masks

    def _chain(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Kornia's augmentations in order: geometry, then light, then what the camera adds."""
        kornia = importlib.import_module("kornia.augmentation")
        wanted = (
            (self.flip, lambda: kornia.RandomHorizontalFlip(p=self.flip)),
            (
                self.rotation or self.shift or self.scale > 1,
                lambda: kornia.RandomAffine(
                    self.rotation, (self.shift, self.shift), (1 / self.scale, self.scale), p=0.8
                ),
            ),
            (self.perspective, lambda: kornia.RandomPerspective(self.perspective, p=0.5)),
            (
                self.shadow,
                lambda: kornia.RandomPlasmaShadow(
                    (0.1, 0.6), (-0.6, -0.1), (0.2, 0.8), p=self.shadow
                ),
            ),
            (
                self.brightness or self.contrast or self.saturation or self.hue,
                lambda: kornia.ColorJiggle(
                    *(about(share) for share in (self.brightness, self.contrast, self.saturation)),
                    (-self.hue, self.hue),
                    p=0.8,
                ),
            ),
            (self.gamma, lambda: kornia.RandomGamma((1 / (1 + self.gamma), 1 + self.gamma), p=0.5)),
            (
                self.blur,
                lambda: kornia.RandomGaussianBlur((5, 5), (0.1, max(self.blur, 0.11)), p=0.25),
            ),
            (self.noise, lambda: kornia.RandomGaussianNoise(0.0, self.noise, p=0.25)),
        )
        return kornia.AugmentationSequential(
            *(make() for use, make in wanted if use), data_keys=["input", "mask"]
        )


def about(share: float) -> tuple[float, float]:
    """Factors from 1 - share to 1 + share."""
    return 1 - share, 1 + share
