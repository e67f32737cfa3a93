from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roads.toy import Toy

torch: Any = pytest.importorskip("torch", reason="feeds give tensors")

from backstride.roads.data import feed as feeds  # noqa: E402
from backstride.roads.data.augment import Augment  # noqa: E402
from backstride.roads.data.feed import Feed, Order, collated, loader, scaled, scaled_labels  # noqa: E402


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 9))
def test_processes_share_every_picture(count: int, processes: int, epoch: int) -> None:
    parts: list[list[tuple[int, int]]] = []
    for rank in range(processes):
        order = Order(count, 3, shuffle=True, rank=rank, processes=processes)
        order.set_epoch(epoch)
        parts.append(list(order))
    assert {len(part) for part in parts} == {
        len(Order(count, 3, shuffle=True, processes=processes))
    }
    places = [place for part in parts for _, place in part]
    assert set(places) == set(range(count))
    assert all(given == epoch for part in parts for given, _ in part)


@given(st.integers(1, 40), st.integers(1, 5))
def test_what_is_measured_is_measured_once(count: int, processes: int) -> None:
    parts = [
        list(Order(count, 3, shuffle=False, rank=rank, processes=processes))
        for rank in range(processes)
    ]
    assert len({len(part) for part in parts}) == 1
    assert sorted(place for part in parts for _, place in part if place >= 0) == list(range(count))


def test_what_fills_up_is_ignored() -> None:
    image, labels, place = Feed(Toy(3), ())[0, -1]
    assert (labels == 255).all()
    assert place == 0
    assert torch.equal(image, Feed(Toy(3), ())[0][0])


def test_the_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[tuple[int, int]]:
        made = Order(30, seed, shuffle=True)
        made.set_epoch(epoch)
        return list(made)

    assert order(1, 2) == order(1, 2)
    assert [place for _, place in order(1, 2)] != [place for _, place in order(1, 3)]
    assert order(1, 2) != order(2, 2)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 40))
def test_an_order_goes_on_within_an_epoch(count: int, processes: int, taken: int) -> None:
    def order(epoch: int, begin: int | None = None) -> list[tuple[int, int]]:
        made = Order(count, 3, shuffle=True, rank=processes - 1, processes=processes)
        if begin is not None:
            made.start_at(2, begin)
        if (
            epoch != 2
        ):  # of the one to start at, processes that read take places before this is said
            made.set_epoch(epoch)
        assert len(made) == -(-count // processes)
        return list(made)

    whole = Order(count, 3, shuffle=True, rank=processes - 1, processes=processes)
    whole.set_epoch(2)
    assert order(2, taken) == list(whole)[taken:]
    assert order(3, taken) == order(3)


@pytest.mark.parametrize("size", [(), (48, 64)])
def test_changes_follow_from_seed_epoch_and_place(size: tuple[int, ...]) -> None:
    def item(seed: int, epoch: int) -> Any:
        return Feed(Toy(3), size, augment=Augment(), seed=seed)[epoch, 1]

    state = torch.get_rng_state()
    first, again, later, other = item(0, 4), item(0, 4), item(0, 5), item(1, 4)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], later[0])
    assert not torch.equal(first[0], other[0])


class Counting(Toy):
    read = 0

    def image(self, index: int) -> Any:
        self.read += 1
        return super().image(index)


def test_memory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, fresh = Counting(4, ragged=True), Counting(4, ragged=True)
    one, other = Feed(kept, (48, 64)), Feed(fresh, (48, 64))
    found = [(one[2], one[2]), (one[1], one[1])]
    monkeypatch.setattr(feeds, "CACHE", 0)
    for index, pair in zip((2, 1), found, strict=True):
        for item in pair:
            assert all(torch.equal(a, b) for a, b in zip(item[:2], other[index][:2], strict=True))
    assert (kept.read, fresh.read) == (2, 4)
    assert pickle.loads(pickle.dumps(Feed(Toy(4), ()))).__getstate__()["_kept"] == {}
    assert not one.__getstate__()["_kept"]


def test_scaling_keeps_means_and_mixes_no_labels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    assert torch.equal(scaled(image, ()), scaled(image, (60, 80)))
    half = scaled(image, (30, 40))
    assert half.shape == (3, 30, 40)
    assert float(half.mean()) == pytest.approx(image.mean() / 255, abs=1e-3)
    labels = torch.tensor([[0, 0, 1, 1, 255, 255], [0, 0, 1, 1, 255, 255]])
    assert scaled_labels(labels, (1, 3)).numpy().tolist() == [[0, 1, 255]]
    assert scaled_labels(labels, (4, 12))[0].numpy().tolist() == [
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        1,
        255,
        255,
        255,
        255,
    ]


def test_batches_of_different_sizes_are_filled_with_ignore() -> None:
    small, large = torch.ones(3, 4, 5), torch.ones(3, 6, 5)
    images, labels, places = collated(
        [(small, torch.ones(4, 5).long(), 7), (large, torch.ones(6, 5).long(), 8)]
    )
    assert images.shape == (2, 3, 6, 5)
    assert places == [7, 8]
    assert (labels[0, 4:] == 255).all()
    assert (labels[0, :4] == 1).all()
    assert not images[0, :, 4:].any()


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 2 worker"
)  # on a machine of one core
def test_workers_change_nothing() -> None:
    feed = Feed(Toy(8), (48, 64), augment=Augment(), seed=5)
    plain, worked = (
        list(loader(feed, Order(8, 5, shuffle=True), 4, workers)) for workers in (0, 2)
    )
    for one, other in zip(plain, worked, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
        assert one[2] == other[2]
