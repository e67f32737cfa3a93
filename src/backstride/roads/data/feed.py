"""Pictures on their way into training: which, in what order, how changed, in what batches.

All of it follows from (seed, epoch, place in the data set): no process, no worker and no
interruption changes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from backstride.roads.sample import IGNORE
from backstride.roads.sample import Dataset as Pictures
from backstride.roads.stopping import deaf

CACHE = 2**30
Augmentation = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
Item = tuple[Tensor, Tensor, int]  # a picture, its labels, its place in the data set
Batch = tuple[Tensor, Tensor, list[int]]


class Feed(Dataset[Item]):
    """Pictures of a data set as tensors.

    (3, H, W) from 0 to 1, labels (H, W), and the place in the data set. Scaled pictures are kept in
    memory as long as all of them need no more than `CACHE` bytes.

    `size`: rows and columns that pictures are scaled to, () for none. `augment`: changes images (N,
    3, H, W) and labels (N, H, W) by a seed, after they were scaled.
    """

    def __init__(
        self,
        pictures: Pictures,
        size: Sequence[int],
        *,
        augment: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.pictures = pictures
        self.size = tuple(size)
        self.augment = augment
        self.seed = seed
        self._kept: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = {}

    def __getstate__(self) -> dict[str, object]:
        """For processes that read: without what is kept."""
        return {**vars(self), "_kept": {}}

    def __len__(self) -> int:
        return len(self.pictures.samples)

    def __getitem__(self, key: int | tuple[int, int]) -> Item:
        """A picture by its place, or by (epoch, place).

        Place -1 - i is picture i, all of it to be ignored.
        """
        epoch, place = key if isinstance(key, tuple) else (0, key)
        index = place if place >= 0 else -1 - place
        image, mask = self._read(index)
        pixels, labels = scaled(image, ()), as_tensor(mask).long()
        if place < 0:
            labels = torch.full_like(labels, IGNORE)
        if self.augment is not None:
            pixels, labels = (
                found[0]
                for found in self.augment(
                    pixels[None], labels[None], _drawn(self.seed, epoch, index)
                )
            )
        return pixels, labels, index

    def _read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A picture and its labels, scaled."""
        if index in self._kept:
            return self._kept[index]
        image, mask = self.pictures.image(index), self.pictures.mask(index)
        if self.size and image.shape[:2] != self.size:
            pixels = (scaled(image, self.size) * 255).round().to(torch.uint8)
            image = pixels.movedim(0, -1).numpy()
            mask = scaled_labels(as_tensor(mask), self.size).numpy()
        if len(self) * (image.nbytes + mask.nbytes) <= CACHE:
            self._kept[index] = image, mask
        return image, mask


class Order(Sampler[tuple[int, int]]):
    """The places of an epoch in a random order, this process's share of them.

    With `shuffle` off, in order. Every process gets equally many. Where they do not divide, a
    random order goes on from its start; one that is in order is measured, so what fills it up is
    marked to be ignored.
    """

    def __init__(
        self, count: int, seed: int, *, shuffle: bool, rank: int = 0, processes: int = 1
    ) -> None:
        self.count, self.seed, self.shuffle = count, seed, shuffle
        self.rank, self.processes = rank, processes
        self.epoch = 0
        self._taken = 0, 0

    def start_at(self, epoch: int, taken: int) -> None:
        """Begin with this epoch, after the first `taken` places of this process in it.

        Said before the first batch is asked for: processes that read take places ahead of
        `set_epoch`.
        """
        self.epoch, self._taken = epoch, (epoch, taken)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return (self.count + self.processes - 1) // self.processes

    def __iter__(self) -> Iterator[tuple[int, int]]:
        size = len(self) * self.processes
        if self.shuffle:
            whole = np.resize(
                np.random.default_rng([self.seed, 1, self.epoch]).permutation(self.count), size
            )
        else:
            whole = np.append(np.arange(self.count), np.full(size - self.count, -1))
        own = whole[self.rank :: self.processes]
        begun, taken = self._taken
        return iter(
            [(self.epoch, int(place)) for place in (own[taken:] if self.epoch == begun else own)]
        )


def loader(
    feed: Feed, order: Sampler[tuple[int, int]], batch: int, workers: int, *, pin: bool = False
) -> DataLoader[Item]:
    """Batches of a feed in an order."""
    return _Loader(
        feed,
        batch_size=batch,
        sampler=order,
        num_workers=workers,
        collate_fn=collated,
        pin_memory=pin,
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
        # drawn from a generator of its own, so that nothing moves torch's global stream
        generator=torch.Generator().manual_seed(0),
    )


class _Loader(DataLoader[Item]):
    """One whose processes leave it to this one to hear that the run is to stop."""

    def __iter__(self):  # torch has no public name for what it gives
        with deaf():
            return super().__iter__()


def collated(items: Sequence[Item]) -> Batch:
    """A batch; smaller pictures are filled up at the bottom and right, with zeros and IGNORE."""
    images, labels, places = zip(*items, strict=True)
    return _stacked(images, 0), _stacked(labels, IGNORE), list(places)


def scaled(image: NDArray[np.uint8], size: Sequence[int]) -> Tensor:
    """(H, W, 3) from 0 to 255 as (3, rows, columns) from 0 to 1.

    Each pixel is a mean of what it covers.
    """
    tensor = as_tensor(image).movedim(-1, 0).float() / 255
    if not size or tuple(tensor.shape[1:]) == tuple(size):
        return tensor.contiguous()
    return F.interpolate(tensor[None], tuple(size), mode="bilinear", antialias=True)[0].clamp(0, 1)


def as_tensor(array: NDArray[np.uint8]) -> Tensor:
    """A copy, whatever the array's strides and flags."""
    return torch.as_tensor(np.array(array, order="C"))


def scaled_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """(H, W) to (rows, columns).

    Each cell takes the label of the pixel at its middle, none is mixed.
    """
    if not size or tuple(labels.shape) == tuple(size):
        return labels
    rows, columns = (
        ((torch.arange(wanted) + 0.5) * have / wanted).long()
        for wanted, have in zip(size, labels.shape, strict=True)
    )
    return labels[rows][:, columns]


def _drawn(seed: int, epoch: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, 2, epoch, index]).generate_state(1)[0])


def _stacked(tensors: Sequence[Tensor], fill: int) -> Tensor:
    rows, columns = (max(tensor.shape[axis] for tensor in tensors) for axis in (-2, -1))
    padded = [
        F.pad(tensor, (0, columns - tensor.shape[-1], 0, rows - tensor.shape[-2]), value=fill)
        for tensor in tensors
    ]
    return torch.stack(padded)
