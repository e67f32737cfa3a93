from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

import backstride as bs  # noqa: E402
from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig, changed  # noqa: E402
from backstride.roads.data.sources import Split  # noqa: E402
from backstride.roads.evaluation.evaluate import probabilities  # noqa: E402
from backstride.roads.evaluation.metrics import Counts, threshold_of  # noqa: E402
from backstride.roads.meaning import Meaning  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.network.model import build  # noqa: E402
from backstride.roads.toml import read_config  # noqa: E402
from backstride.roads.training import keeper  # noqa: E402
from backstride.roads.training import run as training  # noqa: E402
from backstride.roads.training.lightning import Training, counted  # noqa: E402
from backstride.roads.training.run import Result, train  # noqa: E402
from roads.toy import Toy  # noqa: E402

QUIET = Console(quiet=True)
CONFIG = RunConfig(
    ModelConfig("mobilenetv3-minimal"),
    DataConfig(),
    TrainConfig(epochs=2, batch=4, rate=1e-2, accelerator="cpu"),
)
FILES = {
    "config.toml",
    "best.safetensors",
    "last.safetensors",
    "resume.ckpt",
    "epochs.csv",
    "curves.png",
    "logs",
}


def toys() -> Split:
    return Split(Toy(8), Toy(3, seed=1))


def trained(out: Path, **values: object) -> Result:
    return train(changed(CONFIG, **values), out, split=toys(), console=QUIET)


def weights(out: Path, name: str = "last.safetensors") -> dict[str, Any]:
    return checkpoint.load(out / name)[0].state_dict()


def table(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "epochs.csv").read_text(encoding="utf-8"))))


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.fixture(name="run", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    console = Console(file=io.StringIO(), width=120)
    out = tmp_path_factory.mktemp("runs") / "run"
    result = train(CONFIG, out, split=toys(), console=console)
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


def test_leaves_a_runs_files(run: tuple[Result, str]) -> None:
    result, _ = run
    assert {path.name for path in result.out.iterdir()} == FILES
    rows = table(result.out)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert max(float(row["val_maxf"]) for row in rows) == pytest.approx(result.maxf, abs=1e-6)
    assert (result.out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert any(path.name.startswith("events") for path in (result.out / "logs").iterdir())
    assert (result.epochs, result.best, result.last) == (
        2,
        result.out / checkpoint.BEST,
        result.out / checkpoint.LAST,
    )


def test_writes_down_what_it_was_made_with(run: tuple[Result, str]) -> None:
    path = run[0].out / "config.toml"
    assert read_config(path) == CONFIG
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    assert {"python", "backstride", "torch", "lightning", "numpy"} <= tables["versions"].keys()
    assert set(tables["hashes"]) == {"train", "held_out"}
    assert all(len(value) == 64 for value in tables["hashes"].values())


def test_keeps_the_best_held_out_threshold_with_each_network(run: tuple[Result, str]) -> None:
    out = run[0].out
    state = torch.load(out / "resume.ckpt", weights_only=True)
    assert state["epoch"] == 1
    for name in (checkpoint.BEST, checkpoint.LAST):
        network, _ = checkpoint.load(out / name)
        counts, toys_held_out = Counts(), Toy(3, seed=1)
        for index in range(3):
            counts.add(
                probabilities(network, toys_held_out.image(index), ())[1], toys_held_out.mask(index)
            )
        assert checkpoint.meaning_of(out / name) == Meaning(
            threshold=threshold_of(counts.measures())
        )


def test_tells_each_epoch(run: tuple[Result, str]) -> None:
    result, printed = run
    assert "epoch 1/2  loss " in printed
    assert f"MaxF {result.maxf:.4f}" in printed


def test_learns(tmp_path: Path) -> None:
    result = trained(tmp_path, train__epochs=10, train__rate=3e-3, train__batch=2)
    assert result.maxf > 0.85
    rows = table(tmp_path)
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])


def test_the_same_seed_trains_the_same_network(run: tuple[Result, str], tmp_path: Path) -> None:
    _ = torch.rand(3)
    state = torch.get_rng_state()
    _ = trained(tmp_path / "same")
    _ = trained(tmp_path / "other", train__seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()
    first = weights(run[0].out)
    assert same(first, weights(tmp_path / "same"))
    assert not same(first, weights(tmp_path / "other"))


def test_other_ways_to_train(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = trained(
        out,
        train__epochs=1,
        train__accumulate=2,
        train__precision="bf16-mixed",
        train__balance="median",
        train__optimizer="sgd",
        train__schedule="cosine",
        train__freeze=("features.0",),
        model__engine=False,
    )
    assert result.maxf > 0
    with torch.random.fork_rng():
        _ = torch.manual_seed(0)
        start = build(ModelConfig("mobilenetv3-minimal", engine=False)).state_dict()
    end = weights(out)
    held = [key for key in start if ".features.0." in key]
    assert held
    assert all(torch.equal(start[key], end[key]) for key in held)
    assert not torch.equal(start["segmenter.ups.image.weight"], end["segmenter.ups.image.weight"])


def accepted(*_: object) -> None:
    """In place of the check that there is something to learn from."""


def test_decay_alone_shrinks_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On pictures that are ignored everywhere, all that acts on the weights is the decay."""
    monkeypatch.setattr(training, "require_sound", accepted)

    class Ignored(Toy):
        def mask(self, index: int) -> NDArray[np.uint8]:
            return np.full_like(super().mask(index), 255)

    settings = TrainConfig(
        epochs=1, batch=4, rate=0.1, decay=0.5, schedule="constant", warmup=0.0, accelerator="cpu"
    )
    config = RunConfig(CONFIG.model, DataConfig(), settings)
    _ = train(config, tmp_path, split=Split(Ignored(8), Toy(2)), console=QUIET)
    with torch.random.fork_rng():
        _ = torch.manual_seed(0)
        start = dict(build(CONFIG.model).named_parameters())
    end = weights(tmp_path)
    for name, parameter in start.items():
        wanted = parameter * (1 - 0.1 * 0.5) ** 2 if parameter.ndim > 1 else parameter
        assert torch.allclose(end[name], wanted, rtol=1e-5), name


def test_stops_early(tmp_path: Path) -> None:
    result = trained(tmp_path, train__epochs=9, train__rate=0.0, train__patience=2, train__batch=8)
    assert result.epochs < 9
    assert result.epochs == result.best_epoch + 2


def test_a_finished_run_that_is_resumed_is_finished(run: tuple[Result, str]) -> None:
    out = run[0].out
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    again = train(None, out, resume=True, split=toys(), console=QUIET)
    assert (again.maxf, again.epochs) == (run[0].maxf, 2)
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def refused(
    config: RunConfig | None, out: Path, *, resume: bool = False, split: Split | None = None
) -> str:
    with pytest.raises(ValueError, match=r"^") as caught:
        _ = train(config, out, resume=resume, split=split or toys(), console=QUIET)
    return str(caught.value).replace(str(out), "OUT")


def test_refuses_a_folder_with_another_run(run: tuple[Result, str]) -> None:
    out = run[0].out
    assert (
        refused(CONFIG, out)
        == "`out` (='OUT') holds a run; add --resume to go on with it, or name another folder"
    )
    assert refused(changed(CONFIG, train__epochs=3), out, resume=True) == (
        "`epochs` (=3) differs from that of the run in 'OUT' (=2), which --resume goes on with; "
        "leave it out, or name another folder"
    )
    assert refused(CONFIG, out, resume=True, split=Split(Toy(9), Toy(3, seed=1))) == (
        "the pictures to train on changed since the run in 'OUT' began; name another folder"
    )


def test_refuses_what_is_no_run(tmp_path: Path) -> None:
    assert refused(None, tmp_path, resume=True) == "`out` (='OUT') holds no run to resume"
    path = tmp_path / "file"
    path.touch()
    assert refused(CONFIG, path) == "`out` (='OUT') is a file; name a folder"


def test_a_state_of_another_architecture_is_one_sentence(
    run: tuple[Result, str], tmp_path: Path
) -> None:
    config = changed(CONFIG, model__skips=(16,))
    _ = checkpoint.save(tmp_path, build(config.model), config, name="other.safetensors")
    _ = (tmp_path / "resume.ckpt").write_bytes((run[0].out / "resume.ckpt").read_bytes())
    message = refused(None, tmp_path, resume=True)
    assert message.startswith(
        "`checkpoint` (='OUT/resume.ckpt') belongs to another architecture: its segmenter.skips.8."
    )
    _ = (tmp_path / "resume.ckpt").write_bytes(b"nothing")
    assert refused(None, tmp_path, resume=True).startswith(
        "`resume` (='OUT/resume.ckpt') is no state of a run: "
    )


def test_states_hold_no_code(run: tuple[Result, str]) -> None:
    state = torch.load(run[0].out / "resume.ckpt", weights_only=True)
    assert {"state_dict", "optimizer_states", "callbacks", "loops"} <= state.keys()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train__epochs": 0}, "`epochs` (=0) must be at least 1; the nearest legal value is 1"),
        (
            {"train__rate": -1.0},
            "`rate` (=-1.0) must not be negative; the nearest legal value is 0",
        ),
        (
            {"train__rate": float("nan")},
            "`rate` (=nan) must not be negative; the nearest legal value is 0",
        ),
        ({"train__schedule": "step"}, "`schedule` (='step') must be one of poly, cosine, constant"),
        (
            {"data__size": (20, 40)},
            (
                "`size` (=(20, 40)) must be rows and columns of at least 32, or () for the "
                "pictures' own"
            ),
        ),
        (
            {"train__precision": "16-mixed"},
            '`precision` (="16-mixed") needs a GPU; on a CPU take "bf16-mixed"',
        ),
        ({"model__encoder": "vgg"}, "`encoder` (='vgg') must be vgg16, "),
    ],
)
def test_refuses_settings(values: dict[str, object], message: str, tmp_path: Path) -> None:
    assert refused(changed(CONFIG, **values), tmp_path / "out").startswith(message)
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_refuses_an_empty_split(tmp_path: Path) -> None:
    assert (
        refused(CONFIG, tmp_path, split=Split(Toy(2), Toy(0)))
        == "no picture is held out; change the split"
    )
    assert (
        refused(CONFIG, tmp_path, split=Split(Toy(0), Toy(1)))
        == "no picture is left to train on; change the split"
    )


def test_a_broken_mask_is_found_before_training(tmp_path: Path) -> None:
    class Broken(Toy):
        def mask(self, index: int) -> NDArray[np.uint8]:
            return super().mask(index)[:-1]

    message = refused(CONFIG, tmp_path / "out", split=Split(Toy(2), Broken(1)))
    assert "has 63 rows and 96 columns" in message
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = keeper.write_beside, 8

    def full(path: Path, content: str | bytes) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    monkeypatch.setattr(keeper, "write_beside", full)
    config = changed(CONFIG, train__epochs=3)
    with pytest.raises(OSError, match=r"^`out`") as caught:
        _ = train(config, tmp_path / "full", split=toys(), console=QUIET)
    assert str(caught.value) == (
        f"`out` (={str(tmp_path / 'full')!r}) cannot be written to: no space left on device; what "
        "was finished is whole, and --resume goes on from there"
    )
    _ = checkpoint.load(tmp_path / "full" / "last.safetensors")
    monkeypatch.setattr(keeper, "write_beside", write)
    _ = train(None, tmp_path / "full", resume=True, split=toys(), console=QUIET)
    _ = train(config, tmp_path / "whole", split=toys(), console=QUIET)
    assert same(weights(tmp_path / "full"), weights(tmp_path / "whole"))


def test_counts_as_the_measures_do() -> None:
    probability, labels = torch.rand(2, 9, 7), torch.randint(0, 3, (2, 9, 7))
    labels[labels == 2] = 255
    counts = Counts()
    counts.add(probability.numpy(), labels.numpy().astype(np.uint8))
    assert np.array_equal(counted(probability, labels).numpy(), counts.table)


def test_the_measure_is_of_the_held_out_pictures(run: tuple[Result, str]) -> None:
    from backstride.roads.evaluation.evaluate import evaluate  # noqa: PLC0415  beside what it is compared with

    network, _ = checkpoint.load(run[0].out)
    found = evaluate(network, Toy(3, seed=1)).views["perspective"]["all"]
    assert found.maxf == pytest.approx(run[0].maxf, abs=2e-3)


def test_layers_that_are_held_keep_their_statistics() -> None:
    network: Any = build(CONFIG.model)
    module: Any = Training(network, replace(CONFIG.train, freeze=("features.1",)), None, 10)
    _ = module.train()
    module.on_train_epoch_start()
    modes = {name: layer.training for name, layer in network.segmenter.backbone.named_modules()}
    assert not any(training for name, training in modes.items() if name.startswith("features.1."))
    assert modes["features.2"]


def test_threads_are_those_of_the_config_in_training_and_as_before_after_it(tmp_path: Path) -> None:
    seen: set[tuple[int, int]] = set()

    def threads() -> tuple[int, int]:
        return torch.get_num_threads(), bs.get_num_threads()

    class Watched(Toy):
        def image(self, index: int) -> NDArray[np.uint8]:
            seen.add(threads())
            return super().image(index)

    before = threads()
    bs.set_num_threads(3)
    wanted = 3, bs.get_num_threads()  # 1 where nothing is compiled
    bs.set_num_threads(before[1])
    for count, during in ((0, before), (3, wanted)):
        seen.clear()
        config = changed(CONFIG, train__epochs=1, train__threads=count)
        _ = train(
            config,
            tmp_path / str(count),
            split=Split(Watched(2), Watched(1, seed=1)),
            console=QUIET,
        )
        assert seen == {before, during}  # pictures are looked at before training, too
        assert threads() == before


PROGRAM = """
import sys
from pathlib import Path
import torch
from rich.console import Console
from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from backstride.roads.data.sources import Split
from backstride.roads.training.run import train
from roads.toy import Toy
torch.set_num_threads(1)
config = RunConfig(ModelConfig("mobilenetv3-minimal"), DataConfig(),
    TrainConfig(epochs=2, batch=2, rate=1e-2, devices=2, accelerator="cpu"))
resume = len(sys.argv) > 2
train(config, Path(sys.argv[1]), resume=resume, split=Split(Toy(7), Toy(3, seed=1)), console=Console(quiet=True))
"""  # noqa: E501


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    _ = path.write_text(PROGRAM)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }

    def go(name: str, *words: str) -> None:
        command = [sys.executable, str(path), str(tmp_path / name), *words]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stderr

    go("one")
    go("two")
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    rows = table(tmp_path / "one")
    assert len(rows) == 2
    from backstride.roads.evaluation.evaluate import evaluate  # noqa: PLC0415  beside what it is compared with

    # each process measured its share: together every picture once
    network, _ = checkpoint.load(tmp_path / "one" / "last.safetensors")
    found = evaluate(network, Toy(3, seed=1)).views["perspective"]["all"].maxf
    assert found == pytest.approx(float(rows[-1]["val_maxf"]), abs=2e-3)
