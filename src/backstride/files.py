"""Files appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"


def write_beside(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader and no crash ever sees half of it.

    Makes missing folders. Raises `ValueError` where `path` is a folder or lies below a file.
    """
    with beside(path) as part:
        _ = part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def beside(path: Path) -> Generator[Path]:
    """An empty file for a library to write, which takes the place of `path` at the end, or goes where that fails.

    It is named as `leftovers` finds it. Makes missing folders. Raises what `write_beside` raises.
    """
    refuse_folder("path", path)
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        _ = os.umask(umask)
        part.chmod(0o666 & ~umask)
        _ = part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno is None or (error.filename is not None and part.name not in str(error.filename)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the name that users know
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def instead_of(path: Path) -> Generator[Path]:
    """An empty folder to write into, which takes the place of the folder `path` at the end, or goes where that fails.

    What was in `path` is gone then; a folder that stayed empty takes no place. Makes missing folders above it.
    Raises `ValueError` where `path` is a file or a link, or lies below a file.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        message = f"`path` (={str(path)!r}) must be a folder, but it is a {'link' if path.is_symlink() else 'file'}"
        raise ValueError(message)
    fresh, old = (path.with_name(f".{path.name}.{word}") for word in ("new", "old"))
    for rest in (fresh, old):  # of a killed process
        shutil.rmtree(rest, ignore_errors=True)
    make_folder(fresh)
    try:
        yield fresh
        if path.exists():
            _ = path.rename(old)
        if any(fresh.iterdir()):
            _ = fresh.rename(path)
    except BaseException as error:
        if old.exists() and not path.exists():
            _ = old.rename(path)
        if isinstance(error, OSError) and error.filename is not None and str(error.filename).startswith(str(fresh)):
            name = str(path) + str(error.filename).removeprefix(str(fresh))
            raise OSError(error.errno, error.strerror, name) from error  # the name that users know
        raise
    finally:
        for rest in (fresh, old):
            shutil.rmtree(rest, ignore_errors=True)


def leftovers(folder: Path) -> list[Path]:
    """What killed processes left in a folder and those below it; whoever has the folder to himself may remove them."""
    return sorted(folder.rglob(f".*{PART}"))


def refuse_folder(name: str, path: Path) -> None:
    """Refuse a folder where a file is to be written; long work checks this before it starts."""
    if path.is_dir():
        message = f"`{name}` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises `ValueError` where one of them is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        message = f"`path` (={str(path)!r}) must be a folder, but it, or one above it, is a file"
        raise ValueError(message) from None
