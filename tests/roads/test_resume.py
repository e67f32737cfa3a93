"""A run that is killed at any moment and resumed gives the files of one that was not, bit for
bit.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

from backstride.roads.config import ModelConfig, RunConfig, TrainConfig  # noqa: E402
from backstride.roads.data import feed  # noqa: E402
from backstride.roads.data.sources import Split  # noqa: E402
from backstride.roads.network.checkpoint import load  # noqa: E402
from backstride.roads.training import keeper  # noqa: E402
from backstride.roads.training.run import Result, train  # noqa: E402
from roads.toy import Toy  # noqa: E402

HERE = Path(__file__).parent
SAME = ("best.safetensors", "last.safetensors", "epochs.csv", "curves.png", "config.toml")


def compare(tmp_path: Path, epochs: int, moments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(HERE / "killed.py"), str(tmp_path), str(epochs), *moments]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in SAME:
        assert (tmp_path / "whole" / name).read_bytes() == (
            tmp_path / "broken" / name
        ).read_bytes(), name
    whole, broken = (
        torch.load(tmp_path / name / "resume.ckpt", weights_only=True)["optimizer_states"]
        for name in ("whole", "broken")
    )
    for one, other in zip(whole[0]["state"].values(), broken[0]["state"].values(), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    for name in ("whole", "broken"):
        assert not [path for path in (tmp_path / name).iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed run is forked")
def test_goes_on_bit_for_bit(tmp_path: Path) -> None:
    # while the first state is written; after a state within an epoch, as another one is written,
    # after both; while networks are written; in the second epoch; between its networks and its
    # state
    compare(
        tmp_path,
        2,
        ["within:2", "picture:10", "within:1", "picture:3", "within:2", "picture:22", "after:3"],
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed run is forked")
def test_goes_on_bit_for_bit_from_any_moment(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    moments = [
        *(f"within:{number}" for number in (1, 3, 4, 5)),
        *(f"before:{number}" for number in (2, 5)),
        *(f"after:{number}" for number in (1, 4)),
        *(f"picture:{number}" for number in random.integers(1, 25, 8)),
    ]
    compare(tmp_path, 8, moments)


def settings(**values: Any) -> RunConfig:
    kept: dict[str, Any] = {
        "epochs": 2,
        "batch": 2,
        "rate": 1e-2,
        "accelerator": "cpu",
        "threads": 1,
        **values,
    }
    return RunConfig(ModelConfig("mobilenetv3-minimal"), train=TrainConfig(**kept))


class Torn(Toy):
    """Toys that are gone after so many pictures were read."""

    left = 10**9

    def image(self, index: int) -> Any:
        self.left -= 1
        if self.left < 0:
            message = "gone"
            raise EOFError(message)
        return super().image(index)


def go(out: Path, config: RunConfig | None, pictures: Toy, *, resume: bool = False) -> Result:
    return train(
        config,
        out,
        resume=resume,
        split=Split(pictures, Toy(2, seed=1)),
        console=Console(quiet=True),
    )


def break_off(out: Path, config: RunConfig, read: int) -> None:
    """A run that ends after so many pictures were read in training."""
    pictures = Torn(8)
    pictures.left = 8 + read  # each is looked at once before training
    with pytest.raises(EOFError, match=r"^gone$"):
        _ = go(out, config, pictures)


def lasts(*folders: Path) -> list[bytes]:
    return [
        (folder / name).read_bytes()
        for folder in folders
        for name in ("last.safetensors", "epochs.csv")
    ]


def test_an_interrupted_epoch_is_not_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CACHE", 0)
    config = settings(accumulate=2, save_minutes=1e-9)
    break_off(tmp_path / "broken", config, 6)  # three batches; weights changed after the second
    pictures = Torn(8)
    pictures.left = 8 + 4 + 8
    _ = go(tmp_path / "broken", None, pictures, resume=True)
    assert pictures.left == 0
    _ = go(tmp_path / "whole", config, Toy(8))
    broken, whole = lasts(tmp_path / "broken"), lasts(tmp_path / "whole")
    assert broken == whole


@pytest.mark.parametrize("minutes", [0.0, 60.0])
def test_a_state_is_not_written_before_its_time(tmp_path: Path, minutes: float) -> None:
    break_off(tmp_path / "run", settings(save_minutes=minutes), 6)
    assert not (tmp_path / "run" / "resume.ckpt").exists()


def test_states_change_nothing(tmp_path: Path) -> None:
    for name, minutes in (("with", 1e-9), ("without", 0.0)):
        _ = go(tmp_path / name, settings(save_minutes=minutes), Toy(8))
    one, other = (load(tmp_path / name)[0].state_dict() for name in ("with", "without"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert len({(tmp_path / name / "epochs.csv").read_text() for name in ("with", "without")}) == 1


def test_a_run_that_stopped_early_has_nothing_left(tmp_path: Path) -> None:
    config = settings(epochs=9, batch=8, rate=0.0, patience=1)
    epochs = go(tmp_path / "run", config, Toy(8)).epochs
    before = lasts(tmp_path / "run")
    assert epochs < 9
    assert go(tmp_path / "run", None, Toy(8), resume=True).epochs == epochs
    assert lasts(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 1 worker"
)  # on a machine of one core
@pytest.mark.parametrize("minutes", [0.0, 1e-9])
def test_processes_that_read_go_on_in_the_same_order(
    tmp_path: Path, minutes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(epochs=3, workers=1, save_minutes=minutes)
    write, left = keeper.write_beside, 6 if minutes else 1  # four states an epoch, or one

    def torn(path: Path, content: str | bytes) -> None:
        nonlocal left
        left -= path.name == "resume.ckpt"
        write(path, content)
        if path.name == "resume.ckpt" and not left:
            raise EOFError

    _ = go(tmp_path / "whole", config, Toy(8))
    monkeypatch.setattr(keeper, "write_beside", torn)
    with pytest.raises(EOFError):
        _ = go(tmp_path / "broken", config, Toy(8))
    _ = go(tmp_path / "broken", None, Toy(8), resume=True)
    assert lasts(tmp_path / "broken") == lasts(tmp_path / "whole")


PROGRAM = """
import os, sys
from pathlib import Path
import torch
from rich.console import Console
from backstride.roads.config import ModelConfig, RunConfig, TrainConfig
from backstride.roads.data.sources import Split
from backstride.roads.training.run import train
from roads.toy import Toy
left = int(sys.argv[2]) if os.environ.get("LOCAL_RANK", "0") == "0" else 10**9
class Torn(Toy):
    def image(self, index):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return super().image(index)
torch.set_num_threads(1)
settings = TrainConfig(epochs=2, batch=1, rate=1e-2, devices=2, accelerator="cpu", save_minutes=1e-9)
config, split = RunConfig(ModelConfig("mobilenetv3-minimal"), train=settings), Split(Torn(7), Toy(3, seed=1))
train(config, Path(sys.argv[1]), resume=True, split=split, console=Console(quiet=True))
"""  # noqa: E501


@pytest.mark.slow
def test_two_processes_go_on_within_an_epoch(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    _ = path.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}

    def code(name: str, left: int) -> int:
        command = [sys.executable, str(path), str(tmp_path / name), str(left)]
        return subprocess.run(
            command, env=environment, capture_output=True, timeout=600, check=False
        ).returncode

    assert code("whole", 10**9) == 0
    assert code("broken", 7 + 4 + 2) == 9  # each is looked at once; then within the second epoch
    assert code("broken", 7 + 1) == 0  # one is left to be read
    assert lasts(tmp_path / "broken") == lasts(tmp_path / "whole")
