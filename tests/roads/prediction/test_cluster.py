"""On a cluster of two workers: each output once, failures tried again and named, dead workers
replaced.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("PIL", reason="pictures are read by Pillow")

from PIL import Image

from backstride.pictures import cluster as module
from backstride.pictures.items import Item
from backstride.roads.meaning import Meaning
from backstride.roads.prediction import Predictor, predict
from backstride.roads.prediction.drawing import Style
from backstride.roads.prediction.job import Job
from backstride.roads.prediction.loading import Loader
from road_pictures import save
from roads.prediction.reds import Reds, files_below, picture


class Fragile(Reds):
    """Ends its process when it sees picture 3 for the first time, and picture 5 each time."""

    def __init__(self, notes: Path) -> None:
        super().__init__()
        self.notes = notes

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        (red,) = (pictures[0, 0, :, 0] >= 128).sum(keepdims=True)
        at = (int(red) - 2) // 4
        with (self.notes / f"{at}.txt").open("a") as file:
            _ = file.write("x")
        if at == 5 or (at == 3 and (self.notes / "3.txt").stat().st_size == 1):
            os._exit(1)
        return super().__call__(pictures)


class Given(Loader):
    """A loader that pickles, and gives `Fragile`."""

    def load(self) -> Predictor:
        return Fragile(self.given.parent)

    def meaning(self) -> Meaning:
        return Meaning()


def jobs(tmp_path: Path) -> Job:
    _ = (tmp_path / "net.safetensors").write_bytes(b"")
    return Job(
        Given(tmp_path / "net.safetensors"),
        tmp_path / "out",
        Style(),
        exactly=False,
        size=None,
        tile=None,
        batch=1,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_two_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each picture is written once, though a worker dies; the one that ends every worker is
    named.
    """
    names = [str(at) for at in range(8)]
    for at in range(8):
        _ = save(tmp_path / "photos" / f"{at}.png", picture(at))
    _ = (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    )
    monkeypatch.setattr("backstride.roads.prediction.run.Loader", Given)
    seen: list[tuple[str, int, int | None]] = []

    def progress(label: str, done: int, total: int | None) -> None:
        seen.append((label, done, total))

    job = jobs(tmp_path)
    found = predict(
        [tmp_path / "photos"],
        job.loader.given,
        tmp_path / "out",
        workers=2,
        batch=1,
        progress=progress,
    )
    assert sorted(outcome.name for outcome in found.done) == [name for name in names if name != "5"]
    reasons = {outcome.name: outcome.reason for outcome in found.failed}
    assert reasons["5"].endswith("5.png ended 2 workers")
    assert reasons["broken"].endswith(
        "is no picture that can be read; legal are BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"
    )
    assert seen[-1] == ("files", 9, 9)
    written = [
        f"{kind}/{name}"
        for kind in ("masks", "overlays", "probabilities")
        for name in names
        if name != "5"
    ]
    assert {name.rpartition(".")[0] for name in files_below(tmp_path / "out")} == {
        "manifest",
        *written,
    }
    for at in range(8):
        times = len((tmp_path / f"{at}.txt").read_text())
        assert times == {3: 2, 5: 2}.get(at, 1)
        if at != 5:
            mask = np.asarray(Image.open(tmp_path / "out" / "masks" / f"{at}.png"))
            np.testing.assert_array_equal(mask, picture(at)[..., 0] >= 128)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert set(manifest["failed"]) == {"5", "broken"}
    (tmp_path / "photos" / "5.png").unlink()  # it would end this process, too
    again = predict([tmp_path / "photos"], job.loader.given, tmp_path / "out")
    assert again.resumed == 7


def test_what_an_earlier_try_finished_is_left_as_it_is(tmp_path: Path) -> None:
    job = jobs(tmp_path)
    item = Item(save(tmp_path / "1.png", picture(1)), "1")
    with module.tried(job.out):
        work = module.Work(job)
        rows = {"source": [str(item.source)], "name": [item.name]}
        first = work(rows)
        before = {path: path.stat().st_mtime_ns for path in job.places(item).values()}
        assert work(rows) == first
        assert {path: path.stat().st_mtime_ns for path in job.places(item).values()} == before
        assert len((tmp_path / "1.txt").read_text()) == 1
    assert not (job.out / ".tries").exists()


def test_a_full_disk_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs(tmp_path)
    item = Item(save(tmp_path / "1.png", picture(1)), "1")

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, f"No space left on device for {len(data)} bytes", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with module.tried(job.out):
        (outcome,) = module.Work(job)({"source": [str(item.source)], "name": [item.name]})[
            "outcome"
        ]
    assert "cannot be written: No space left on device" in json.loads(outcome)["fatal"]
