from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")

from backstride.roads.evaluation.evaluate import evaluate, probabilities  # noqa: E402
from backstride.roads.evaluation.metrics import Counts, f_measure  # noqa: E402
from backstride.roads.evaluation.overlay import errors_over  # noqa: E402
from backstride.roads.synthetic import SyntheticDataset  # noqa: E402
from roads.toy import Toy  # noqa: E402


class Grey(torch.nn.Module):
    """Finds road where red, green and blue are alike: right on toys, but for their noise."""

    def forward(self, image: Any) -> Any:
        spread = image.amax(1) - image.amin(1)
        return torch.stack([20 * (spread - 0.2), torch.zeros_like(spread)], 1)


class Darker(Toy):
    """One of its pictures, the second, has a mask that is wrong everywhere."""

    def mask(self, index: int) -> NDArray[np.uint8]:
        mask = super().mask(index)
        return 1 - mask if index == 1 else mask


@pytest.fixture(name="folder", scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "new"
    _ = evaluate(Grey(), Darker(6), out, worst=2)
    return out


def test_measures_by_category_and_over_all() -> None:
    found = evaluate(Grey(), Toy(6))
    assert list(found.views) == ["perspective"]
    assert list(found.views["perspective"]) == ["um", "umm", "uu", "all"]
    for measures in found.views["perspective"].values():
        assert measures.maxf > 0.95
    assert found.images == 6
    counts, toys, both, either = Counts(), Toy(6), 0, 0
    for index in range(6):
        shares, road = probabilities(Grey(), toys.image(index), ()), toys.mask(index) == 1
        counts.add(shares[1], toys.mask(index))
        said = shares[1] >= 0.5
        both += int(np.count_nonzero(said & road))
        either += int(np.count_nonzero(said | road))
    assert found.views["perspective"]["all"] == counts.measures()
    assert found.classes["road"] == pytest.approx(both / either)


def test_measures_from_above_where_the_camera_is_known() -> None:
    scenes: Any = SyntheticDataset(3, (96, 160), seed=4)

    class Truth(torch.nn.Module):
        """Gives the masks in order, as a perfect network would."""

        given = 0

        def forward(self, image: Any) -> Any:
            mask = torch.from_numpy(np.array(scenes.mask(self.given))).float()[None]
            self.given += 1
            return (
                torch.stack([20 - 40 * mask, torch.zeros_like(mask)], 1)
                if image is not None
                else None
            )

    found = evaluate(Truth(), scenes, worst=0)
    assert list(found.views) == ["perspective", "bird's eye"]
    assert found.views["perspective"]["all"].maxf == 1
    # from above a pixel of the road's border is many cells, of which bilinear probabilities are
    # right on most
    assert found.views["bird's eye"]["all"].maxf > 0.95


def test_compares_in_the_pictures_own_size() -> None:
    toys = Toy(2, size=(96, 128))
    seen: list[tuple[int, ...]] = []

    class Watching(Grey):
        def forward(self, image: Any) -> Any:
            seen.append(tuple(image.shape))
            return super().forward(image)

    found = evaluate(Watching(), toys, size=(48, 64))
    assert seen == [(1, 3, 48, 64)] * 2
    assert found.views["perspective"]["all"].pixels == 2 * 96 * 128
    assert found.views["perspective"]["all"].maxf > 0.9


def test_draws_the_worst_first(folder: Path) -> None:
    names = sorted(path.name for path in (folder / "worst").iterdir())
    assert names[0] == "01_0-1.png"
    assert len(names) == 2
    image: Any = importlib.import_module("PIL.Image")
    with image.open(folder / "worst" / names[0]) as picture:
        assert picture.size == (96, 64)


def test_writes_figures_and_a_curve(folder: Path) -> None:
    data = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert data["views"]["perspective"]["umm"]["maxf"] < data["views"]["perspective"]["um"]["maxf"]
    assert data["worst"][0] == "0-1"
    assert (folder / "precision_recall.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in folder.iterdir()} == {
        "evaluation.json",
        "precision_recall.png",
        "worst",
    }


def test_runs_the_network_once_a_picture_and_replaces_the_worst_of_an_earlier_run(
    tmp_path: Path,
) -> None:
    class Counting(Grey):
        calls = 0

        def forward(self, image: Any) -> Any:
            self.calls += 1
            return super().forward(image)

    network = Counting()
    _ = evaluate(network, Darker(6), tmp_path, worst=4)
    assert network.calls == 6
    assert len(list((tmp_path / "worst").iterdir())) == 4
    before = (tmp_path / "worst" / "01_0-1.png").read_bytes()
    _ = evaluate(network, Darker(6), tmp_path, worst=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "worst").iterdir()} == {
        "01_0-1.png": before
    }
    _ = evaluate(network, Darker(6), tmp_path, worst=0)
    assert {path.name for path in tmp_path.iterdir()} == {"evaluation.json", "precision_recall.png"}
    (tmp_path / "worst").mkdir()
    _ = (tmp_path / "worst" / "mine.txt").write_text("kept")
    with pytest.raises(
        ValueError,
        match=r"^`out` \(='.*'\) has worst/mine.txt, which was not written here; name an",
    ):
        _ = evaluate(network, Darker(6), tmp_path)
    assert network.calls == 18


def test_what_cannot_be_measured_is_null(tmp_path: Path) -> None:
    class Empty(Toy):
        def mask(self, index: int) -> NDArray[np.uint8]:
            return np.zeros_like(super().mask(index))

    _ = evaluate(Grey(), Empty(2), tmp_path, worst=0)
    data = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert data["views"]["perspective"]["all"]["maxf"] is None


def test_refuses_nothing_and_masks_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"^there is no picture to evaluate on$"):
        _ = evaluate(Grey(), Toy(0))

    class Short(Toy):
        def mask(self, index: int) -> NDArray[np.uint8]:
            return super().mask(index)[1:]

    with pytest.raises(
        ValueError, match=r"^the mask of '0-0' has shape \(63, 96\), its picture \(64, 96\)$"
    ):
        _ = evaluate(Grey(), Short(1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_refuses_a_device_that_is_not_there() -> None:
    with pytest.raises(
        ValueError,
        match=r'^`device` \(="cuda"\) is not there: PyTorch sees no GPU; the nearest legal ',
    ):
        _ = evaluate(Grey(), Toy(1), device="cuda")


def test_f_measure_of_a_picture() -> None:
    counts = Counts()
    counts.add(np.array([[200, 100, 50, 10]], np.uint8), np.array([[1, 1, 0, 0]], np.uint8))
    assert f_measure(counts, 60) == 1
    assert f_measure(counts, 150) == pytest.approx(2 / 3)
    assert f_measure(counts, 20) == pytest.approx(4 / 5)
    assert f_measure(Counts(), 20) == 1


def test_colours_say_what_is_wrong() -> None:
    image = np.zeros((1, 5, 3), np.uint8)
    found = np.array([[1, 0, 1, 0, 1]], np.uint8)
    mask = np.array([[1, 1, 0, 0, 255]], np.uint8)
    made = errors_over(image, found, mask)[0]
    assert made.argmax(1)[:3].tolist() == [1, 0, 2]
    assert not made[3:].any()
