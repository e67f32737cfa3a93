"""Several classes: trained, chosen by a measure, measured, predicted, drawn with a legend,
exported.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

torch: Any = pytest.importorskip("torch", reason="road networks are PyTorch's")
_ = pytest.importorskip("lightning", reason="the extra `roads` brings it")

from backstride import cli  # noqa: E402
from backstride.roads.config import ModelConfig, RunConfig, TrainConfig  # noqa: E402
from backstride.roads.data.sources import Split  # noqa: E402
from backstride.roads.evaluation.evaluate import evaluate, probabilities  # noqa: E402
from backstride.roads.evaluation.metrics import confusion, measure_named  # noqa: E402
from backstride.roads.meaning import Meaning  # noqa: E402
from backstride.roads.network import checkpoint  # noqa: E402
from backstride.roads.prediction import predict  # noqa: E402
from backstride.roads.prediction.drawing import Style, mask_of, paint  # noqa: E402
from backstride.roads.prediction.export import export  # noqa: E402
from backstride.roads.training.run import Result, train  # noqa: E402
from road_pictures import save  # noqa: E402
from roads.prediction.networks import network, pictures  # noqa: E402
from roads.prediction.reds import film  # noqa: E402
from roads.toy import Toy  # noqa: E402

CLASSES = ("background", "road", "sky")
CONFIG = RunConfig(
    ModelConfig("mobilenetv3-minimal"),
    train=TrainConfig(epochs=3, batch=2, rate=3e-3, accelerator="cpu", threads=1),
)


class Skies(Toy):
    """Toys whose blue upper part is a class of its own."""

    classes = CLASSES

    def mask(self, index: int) -> NDArray[np.uint8]:
        _, road, horizon = self._drawn(index)
        mask = road.astype(np.uint8)
        mask[:horizon] = 2
        return mask


@pytest.fixture(name="run", scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    console = Console(file=io.StringIO(), width=120)
    result = train(
        CONFIG,
        tmp_path_factory.mktemp("run"),
        split=Split(Skies(8), Skies(3, seed=1)),
        console=console,
    )
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


def test_is_judged_by_the_mean_over_the_classes(run: tuple[Result, str]) -> None:
    result, printed = run
    rows = list(
        csv.DictReader(io.StringIO((result.out / "epochs.csv").read_text(encoding="utf-8")))
    )
    for row in rows:
        of_classes = [float(row[f"iou of {name}"]) for name in CLASSES]
        assert float(row["val_miou"]) == pytest.approx(sum(of_classes) / 3, abs=1e-5)
    scores = [float(row["val_miou"]) for row in rows]
    assert result.measure == "miou"
    assert result.score == pytest.approx(max(scores), abs=1e-6)
    assert result.best_epoch == 1 + scores.index(max(scores))
    assert f"mIoU {scores[-1]:.4f} (background " in printed
    assert checkpoint.meaning_of(result.out).classes == CLASSES


def test_the_measure_is_chosen() -> None:
    assert measure_named("auto", CLASSES) == "miou"
    assert measure_named("sky", CLASSES) == "sky"
    with pytest.raises(
        ValueError, match=r"^`measure` \(='car'\) must be one of auto, maxf, miou, backgr"
    ):
        _ = measure_named("car", CLASSES)


def test_a_class_decides_which_epoch_is_best(tmp_path: Path) -> None:
    config = RunConfig(
        CONFIG.model,
        train=TrainConfig(epochs=1, batch=4, accelerator="cpu", measure="sky", threads=1),
    )
    result = train(
        config, tmp_path, split=Split(Skies(4), Skies(2, seed=1)), console=Console(quiet=True)
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "epochs.csv").read_text(encoding="utf-8"))))
    assert result.score == pytest.approx(max(float(row["iou of sky"]) for row in rows), abs=1e-6)


def test_is_measured_by_the_labels_of_the_largest_score(
    run: tuple[Result, str], tmp_path: Path
) -> None:
    trained, _ = checkpoint.load(run[0].best)
    held_out = Skies(3, seed=1)
    found = evaluate(trained, held_out, tmp_path, worst=2)
    matrix = np.zeros((3, 3), np.int64)
    for index in range(3):
        labels = probabilities(trained, held_out.image(index), ()).argmax(0)
        matrix += confusion(held_out.mask(index), labels, 3)
    both = np.diag(matrix)
    expected = both / (matrix.sum(0) + matrix.sum(1) - both)
    assert list(found.classes) == list(CLASSES)
    np.testing.assert_allclose(list(found.classes.values()), expected)
    assert found.miou == pytest.approx(expected.mean())
    assert len(list((tmp_path / "worst").iterdir())) == 2


def test_masks_overlays_and_legends(tmp_path: Path) -> None:
    file = checkpoint.save(
        tmp_path,
        network(classes=4),
        RunConfig(ModelConfig("mobilenetv3-minimal", classes=4)),
        meaning=Meaning(NAMES),
    )
    photo = pictures(1, 96, 201)[0]
    _ = save(tmp_path / "photo.png", photo)
    found = predict([tmp_path / "photo.png"], file, tmp_path / "out")
    assert found.classes == NAMES
    shares = probabilities(checkpoint.load(file)[0], photo, ())
    mask, levels, overlay = (
        np.asarray(Image.open(tmp_path / "out" / place))
        for place in ("masks/photo.png", "probabilities/photo.png", "overlays/photo.jpg")
    )
    sure = np.sort(shares, axis=0)[-1] - np.sort(shares, axis=0)[-2] > 1e-3
    np.testing.assert_array_equal(mask[sure], shares.argmax(0)[sure])
    assert len(np.unique(mask)) > 1
    np.testing.assert_allclose(levels / 65535, shares.max(0), rtol=0, atol=1e-4)
    assert overlay.shape[1] >= 201
    assert overlay.shape[0] > 96  # the legend
    with pytest.raises(
        ValueError,
        match=r"^`threshold` \(=0.5\) is for two classes; the network has 4: leave it out$",
    ):
        _ = predict([tmp_path / "photo.png"], file, tmp_path / "out", threshold=0.5)


NAMES = ("background", "road", "pavement", "water")


def test_every_class_but_the_background_has_a_colour_that_the_legend_shows() -> None:
    style = Style(classes=NAMES, opacity=1.0)
    assert list(style.colours()) == [1, 2, 3]
    assert list(Style(classes=("grass", *NAMES[1:])).colours()) == [0, 1, 2, 3]
    mask = np.repeat(np.arange(4, dtype=np.uint8), 8)[None].repeat(200, 0).repeat(8, 1)
    photo = np.full((*mask.shape, 3), 77, np.uint8)
    painted = paint(photo, mask, style)
    assert (painted[:200, :63] == 77).all()
    legend = painted[200:]
    for label, colour in style.colours().items():
        inner = mask == label
        assert (painted[:200, : mask.shape[1]][inner] == colour).all(-1).mean() > 0.9
        assert (legend == colour).all(-1).sum() > 200
    assert mask_of(np.array([[[1, 5]], [[2, 4]], [[3, 3]]], np.uint16), style).tolist() == [[2, 0]]


def test_films(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av", reason="videos are read by PyAV")
    file = checkpoint.save(
        tmp_path,
        network(classes=4),
        RunConfig(ModelConfig("mobilenetv3-minimal", classes=4)),
        meaning=Meaning(NAMES),
    )
    _ = film(tmp_path / "drive.mp4", 3)
    found = predict([tmp_path / "drive.mp4"], file, tmp_path / "out")
    assert (found.done[0].frames, found.failed) == (3, ())
    with av.open(str(tmp_path / "out/masks/drive.mkv")) as masks:
        labels = [frame.to_ndarray(format="gray") for frame in masks.decode(video=0)]
    assert len(labels) == 3
    assert max(int(label.max()) for label in labels) < 4
    with av.open(str(tmp_path / "out/overlays/drive.mp4")) as overlays:
        frames = [frame.to_ndarray(format="rgb24") for frame in overlays.decode(video=0)]
    assert len(frames) == 3
    assert frames[0].shape[0] > 48


@pytest.mark.frameworks
def test_exported(tmp_path: Path) -> None:
    _ = pytest.importorskip("onnxscript", reason="torch.onnx exports with it")
    _ = pytest.importorskip("onnxruntime", reason="it runs what is exported")
    file = checkpoint.save(
        tmp_path,
        network(classes=4),
        RunConfig(ModelConfig("mobilenetv3-minimal", classes=4)),
        meaning=Meaning(NAMES),
    )
    _ = export(file, tmp_path / "net.onnx")
    _ = save(tmp_path / "photo.png", pictures(1, 96, 130)[0])
    masks: list[NDArray[np.uint8]] = []
    for made in (file, tmp_path / "net.onnx"):
        found = predict([tmp_path / "photo.png"], made, tmp_path / made.suffix)
        assert found.classes == NAMES
        masks.append(np.asarray(Image.open(tmp_path / made.suffix / "masks/photo.png")))
    assert (masks[0] == masks[1]).mean() > 0.999


def test_the_commands_print_the_classes(
    run: tuple[Result, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    held_out = Skies(3, seed=1)
    for index in range(3):
        _ = save(Path("data/images") / f"{index}.png", held_out.image(index))
        Path("data/masks").mkdir(exist_ok=True, parents=True)
        Image.fromarray(held_out.mask(index)).save(Path("data/masks") / f"{index}.png")
    _ = Path("data/classes.toml").write_text(
        "".join(
            f'[[class]]\nname = "{name}"\nids = [{label}]\n' for label, name in enumerate(CLASSES)
        )
    )
    words = ["evaluate", "--checkpoint", str(run[0].out), "--data", "data", "--out", "figures"]
    for extra in ([], ["--json"], ["--keep-threshold"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(["roads", *words, *extra])
        printed = capsys.readouterr()
        if not extra:
            assert all(
                name in printed.out for name in (*CLASSES, "mean", "pictures, in percent; of road")
            )
        elif extra == ["--json"]:
            assert list(json.loads(printed.out)["classes"]) == list(CLASSES)
        else:
            assert caught.value.code == 2
            assert (
                printed.err
                == "backstride: a threshold is for two classes; the network has 3: leave it out\n"
            )
    with pytest.raises(SystemExit):
        cli.main(
            ["roads", "predict", "data/images", "--checkpoint", str(run[0].out), "--out", "found"]
        )
    assert "labels: 0 background, 1 road, 2 sky" in capsys.readouterr().out
    _ = Path("data/classes.toml").write_text(
        "".join(
            f'[[class]]\nname = "{name}"\nids = [{label}]\n'
            for label, name in enumerate(sorted(CLASSES, reverse=True))
        )
    )
    with pytest.raises(SystemExit) as caught:
        cli.main(["roads", *words])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "backstride: the class 'sky' has label 0 in the pictures and 2 in the network; name a "
        "table with the classes in its order, background, road, sky: --table\n"
    )
