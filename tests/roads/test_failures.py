from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from backstride.roads.training.failures import KEPT, sentence

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

from backstride.roads.config import DataConfig, ModelConfig, RunConfig, TrainConfig  # noqa: E402
from backstride.roads.data.sources import Split  # noqa: E402
from backstride.roads.training import run as training  # noqa: E402
from roads.toy import Toy  # noqa: E402


def handed_over(error: Exception) -> Exception:
    """As PyTorch hands an exception of a process over."""

    def fails() -> None:
        raise error

    def reraised() -> None:
        try:
            fails()
        except Exception as caught:  # noqa: BLE001  any kind
            information = type(error), error, caught.__traceback__
            torch._utils.ExceptionWrapper(information, "in DataLoader worker process 0").reraise()

    with pytest.raises(Exception, match="DataLoader") as found:
        reraised()
    return found.value


def test_an_error_in_a_process_that_reads_is_its_sentence_without_the_traceback() -> None:
    error = handed_over(ValueError("`image` (='a.png') is a damaged or truncated picture"))
    assert "Traceback" in str(error)
    assert (
        sentence(error, Path("run"))
        == f"`image` (='a.png') is a damaged or truncated picture; {KEPT}"
    )


def test_a_process_that_reads_and_is_killed() -> None:
    error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    assert sentence(error, Path("run")) == (
        f"a process that reads pictures was ended from outside, perhaps for want of memory; {KEPT}"
    )


def test_a_picture_that_is_gone_is_not_taken_for_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Toy):
        def image(self, index: int) -> NDArray[np.uint8]:
            _ = index
            return np.frombuffer((tmp_path / "gone.png").read_bytes(), np.uint8)

    def accepted(*_: object) -> None:
        """In place of the look at all pictures before training."""

    monkeypatch.setattr(training, "require_sound", accepted)
    config = RunConfig(
        ModelConfig("mobilenetv3-minimal"), DataConfig(), TrainConfig(epochs=1, accelerator="cpu")
    )
    with pytest.raises(OSError, match="gone") as caught:
        _ = training.train(
            config, tmp_path / "run", split=Split(Gone(2), Toy(1)), console=Console(quiet=True)
        )
    assert str(caught.value) == f"{tmp_path / 'gone.png'}: no such file or directory; {KEPT}"
