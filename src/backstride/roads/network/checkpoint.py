"""Trained networks as files.

Safetensors for the numbers, TOML in its metadata for what they belong to; no code.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

from torch import Tensor, nn

from backstride.files import write_beside
from backstride.pictures.picture import LARGEST
from backstride.roads.config import RunConfig, changed, require_named
from backstride.roads.meaning import KEY as MEANING
from backstride.roads.meaning import Meaning, from_json, share, unsaid
from backstride.roads.network.model import build
from backstride.roads.network.weights import read_metadata, read_tensors
from backstride.roads.seeding import kept_stream
from backstride.roads.toml import from_toml, to_toml

KEY = "backstride.roads"
BEST, LAST, CONFIG = "best.safetensors", "last.safetensors", "config.toml"


def save(
    folder: Path,
    module: nn.Module,
    config: RunConfig,
    *,
    name: str = BEST,
    extra: dict[str, dict[str, str]] | None = None,
    meaning: Meaning | None = None,
) -> Path:
    """Write `folder/name` whole, and the config beside it as `config.toml`.

    `extra`: further tables of the TOML. `meaning`: names of the classes, and the threshold; left
    out, those of a network that was not calibrated.
    """
    text = to_toml(config, extra)
    path = folder / name
    write_beside(path, packed(module.state_dict(), text, meaning or unsaid(config.model.classes)))
    if not (folder / CONFIG).exists():
        write_beside(folder / CONFIG, text)
    return path


def packed(state: dict[str, Tensor], text: str, meaning: Meaning) -> bytes:
    """A state dict, its config's text and what its scores mean as a safetensors file's bytes."""
    from safetensors.torch import save as write  # noqa: PLC0415  for those who only read

    metadata = {KEY: text, MEANING: meaning.to_json()}
    return _ordered(
        write({key: value.detach().cpu().contiguous() for key, value in state.items()}, metadata)
    )


def _ordered(data: bytes) -> bytes:
    """The same file with its metadata in order.

    The library writes them in another order in each process.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load(path: Path, encoder: str | None = None) -> tuple[nn.Module, RunConfig]:
    """The network of a checkpoint, in evaluation, and the config that it was trained with.

    `path`: a file, or a run's folder, whose best (or else last) checkpoint is taken. Nothing is
    unpickled, and nothing imported that the file names: for an encoder of the kind
    `package.module:factory`, name it as `encoder`.

    Raises `ValueError` naming the file where there is none, or it holds another architecture than
    it says.
    """
    file = found(path)
    tensors, metadata = read_tensors(file, "checkpoint")
    config = _config(metadata, file)
    require_named(config.model.encoder, encoder, f"`checkpoint` (={str(file)!r})")
    _check_claims(config, tensors, file)
    with kept_stream():
        module = build(changed(config, model__weights="").model)
    fill(module, tensors, file)
    return module.eval(), config


def meaning_of(path: Path) -> Meaning:
    """The names of a checkpoint's classes, and the threshold that is kept with it.

    0.5 where none was. Reads no weights. `path` and what is raised: as for `load`.
    """
    file = found(path)
    metadata = read_metadata(file, "checkpoint")
    config = _config(metadata, file)
    if MEANING not in metadata:
        return unsaid(config.model.classes)
    meaning = from_json(metadata[MEANING], str(file))
    if len(meaning.classes) != config.model.classes:
        message = (
            f"`checkpoint` (={str(file)!r}) names {len(meaning.classes)} classes and has "
            f"{config.model.classes}"
        )
        raise ValueError(message)
    return meaning


def config_of(path: Path) -> RunConfig:
    """The config of a checkpoint; reads no weights."""
    file = found(path)
    return _config(read_metadata(file, "checkpoint"), file)


def keep_threshold(path: Path, threshold: float) -> Path:
    """Keep with a checkpoint from which probability on a pixel is road.

    `predict` and `evaluate` go by it. The file is replaced whole: its weights and its config stay
    what they are. Returns the file. Raises what `load` raises, and `ValueError` for a threshold
    that is not from 0 to 1.
    """
    file = found(path)
    meaning = dataclasses.replace(meaning_of(file), threshold=share("threshold", threshold))
    tensors, metadata = read_tensors(file, "checkpoint")
    write_beside(file, packed(tensors, metadata[KEY], meaning))
    return file


def _config(metadata: dict[str, str], file: Path) -> RunConfig:
    if KEY not in metadata:
        message = (
            f"`checkpoint` (={str(file)!r}) is no checkpoint of backstride roads: it has no config"
        )
        raise ValueError(message)
    config = from_toml(metadata[KEY], str(file))
    size = config.data.size
    if (
        len(size) not in (0, 2)
        or not all(0 < side < 2**16 for side in size)
        or math.prod(size) > LARGEST
    ):
        message = (
            f"`checkpoint` (={str(file)!r}) says that it was trained at {size}, which is no size"
        )
        raise ValueError(message)
    return config


def _check_claims(config: RunConfig, tensors: dict[str, Tensor], file: Path) -> None:
    """Refuse sizes that the file says and does not hold, before memory is taken for them."""
    shapes, model = {tuple(tensor.shape) for tensor in tensors.values()}, config.model
    wanted: list[tuple[str, tuple[int, ...]]] = [("classes", (model.classes,))]
    if model.encoder == "vgg16":
        wanted += [("head_kernel", (model.head, 512, model.head_kernel, model.head_kernel))]
        wanted += [("head", (model.head, model.head, 1, 1))]
    for name, shape in wanted:
        if shape not in shapes:
            message = (
                f"`checkpoint` (={str(file)!r}) belongs to another architecture: for its `{name}` "
                f"(={getattr(model, name)}) it would hold an array of shape {shape}"
            )
            raise ValueError(message)


def found(path: Path) -> Path:
    """The checkpoint's file: of a run's folder the best, or else the last."""
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    message = (
        f"`checkpoint` (={str(path)!r}) is a folder without {BEST} and {LAST}; train there first"
    )
    raise ValueError(message)


def begin(module: nn.Module, path: Path, classes: int) -> int:
    """Give a network of so many classes the numbers of a checkpoint, or of a run's folder.

    It can be trained on then. Returns how many classes the checkpoint has. Where those are others,
    what has one of its axes for each class stays as it is, and the encoder is taken over. Raises
    `ValueError` for another architecture.
    """
    file = found(path)
    tensors, metadata = read_tensors(file, "start")
    had, own = _config(metadata, file).model.classes, module.state_dict()

    def scores(key: str) -> bool:
        given, wanted = tensors[key].shape, own[key].shape
        differing = {pair for pair in zip(given, wanted, strict=False) if pair[0] != pair[1]}
        return len(given) == len(wanted) and differing == {(had, classes)}

    fill(
        module,
        {key: own[key] if key in own and scores(key) else value for key, value in tensors.items()},
        file,
    )
    return had


def fill(module: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Put a checkpoint's numbers into a network.

    Raises `ValueError` where they belong to another architecture.
    """
    own: dict[str, Tensor] = module.state_dict()
    for key in sorted(own.keys() | tensors.keys()):
        have = tuple(own[key].shape) if key in own else None
        given = tuple(tensors[key].shape) if key in tensors else None
        if have != given:
            message = (
                f"`checkpoint` (={str(source)!r}) belongs to another architecture: its {key} "
                f"{'is missing' if given is None else f'has shape {given}'}, the network's "
                f"{'is missing' if have is None else f'has shape {have}'}"
            )
            raise ValueError(message)
    _ = module.load_state_dict(tensors)
