"""What a run was made with: versions of the libraries, and hashes of its pictures and weights."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from importlib import metadata
from pathlib import Path

from backstride.roads.sample import Dataset

LIBRARIES = ("backstride", "torch", "lightning", "kornia", "numpy", "safetensors")
CHUNK = 2**20
HASHED = {
    "train": "pictures to train on",
    "held_out": "pictures held out",
    "start": "network to start from",
}


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that a run's numbers depend on."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hash_of(pictures: Dataset) -> str:
    """SHA-256 over names, categories, groups, and the bytes of pictures and masks in files.

    Pictures that are drawn and not read count by their names alone.
    """
    digest = hashlib.sha256()
    for sample in pictures.samples:
        digest.update(repr((sample.name, sample.category, sample.group)).encode())
        for path in (sample.image, sample.mask):
            if path is not None and path.is_file():
                digest.update(file_hash(path).encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def require_same(config: Path, hashes: dict[str, str]) -> None:
    """Refuse, by a `ValueError`, to go on with a run's config where data has another hash."""
    if not config.is_file():
        return
    saved = tomllib.loads(config.read_text(encoding="utf-8")).get("hashes", {})
    for name, value in hashes.items():
        if saved.get(name, value) != value:
            what = HASHED.get(name, name)
            message = (
                f"the {what} changed since the run in {str(config.parent)!r} began; name another "
                "folder"
            )
            raise ValueError(message)
