"""Files appear whole or not at all: written beside their place, then renamed.

Here stands what may be written, too.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: parts of killed processes stay
    fcntl = None

PART = ".part"
YOUNG = 60.0  # seconds in which a part is nobody's to sweep, since its lock may still be to come


def check_file(
    name: str,
    path: Path,
    *,
    endings: Sequence[str] = (),
    inputs: Mapping[str, Path | None] | None = None,
) -> None:
    """Refuse, before the work, a file that could not or should not be written.

    >>> check_file("gif", Path("a.svg"), endings=(".gif",))
    Traceback (most recent call last):
    ValueError: `gif` (='a.svg') must end in .gif

    Args:
        name: The argument's name, for the sentence.
        path: The file. Its folder must exist; it may be an ordinary file, which is replaced.
        endings: What the name may end in, in lower case; any ending where there is none.
        inputs: Files that are read, by argument: none of them is written over, under whatever name
            or link.

    Raises:
        ValueError: In one sentence, with what is legal.
    """
    if path.is_dir():
        message = f"`{name}` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)
    if endings and path.suffix.lower() not in endings:
        message = f"`{name}` (={str(path)!r}) must end in {' or '.join(endings)}"
        raise ValueError(message)
    if path.exists() and not path.is_file():
        message = f"`{name}` (={str(path)!r}) is no ordinary file; name one, or a new one"
        raise ValueError(message)
    _check_parent(name, path)
    for other, read in (inputs or {}).items():
        if read is not None and path.exists() and read.exists() and path.samefile(read):
            message = (
                f"`{name}` (={str(path)!r}) is the file that `{other}` (={str(read)!r}) reads; "
                "name another one"
            )
            raise ValueError(message)


def check_folder(name: str, path: Path) -> None:
    """Refuse, before the work, a folder for results that cannot be one.

    It is none, or lies in a folder that is missing. Raises `ValueError` in one sentence.
    `make_folder` makes the folder itself.
    """
    if path.exists() and not path.is_dir():
        message = f"`{name}` (={str(path)!r}) must be a folder, but it is a file"
        raise ValueError(message)
    _check_parent(name, path)


def _check_parent(name: str, path: Path) -> None:
    parent = path.absolute().parent
    if parent.is_dir():
        return
    above = next((folder for folder in (parent, *parent.parents) if folder.exists()), parent)
    if not above.is_dir():
        message = f"`{name}` (={str(path)!r}) lies below {str(above)!r}, which is a file"
        raise ValueError(message)
    message = (
        f"`{name}` (={str(path)!r}) lies in a folder that does not exist; make it first: mkdir -p "
        f"{path.parent}"
    )
    raise ValueError(message)


def write_beside(path: Path, content: str | bytes, *, one_of_many: bool = False) -> None:
    """Write a file so that no reader, no crash and no power cut ever sees half of it.

    Arguments and errors are those of `beside`.
    """
    with beside(path, one_of_many=one_of_many) as part:
        _ = part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def beside(path: Path, *, one_of_many: bool = False) -> Generator[Path]:
    """An empty file for a library to write, which takes the place of `path` at the end.

    It is removed where that fails. It is named as `leftovers` finds it. An existing file keeps its
    mode, a link goes on pointing to it. The new one is on the disk before it takes the place, and
    what killed processes left of it is removed; `one_of_many` leaves out both, which cost more than
    a small file. Makes missing folders.

    Raises:
        ValueError: `path` is a folder, or lies below a file.
    """
    if path.is_dir():
        message = f"`path` (={str(path)!r}) is a folder; name a file in it"
        raise ValueError(message)
    target = path.resolve()
    make_folder(target.parent)
    if not one_of_many:
        _sweep(target)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=PART)
    part = Path(name)
    try:
        _ = _lock(handle)
        yield part
        part.chmod(_mode(target))
        if not one_of_many:
            _to_disk(part)
        _ = part.replace(target)
        if not one_of_many:
            _to_disk(target.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        if error.errno is None or (
            error.filename is not None and part.name not in str(error.filename)
        ):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the name that users know
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _mode(path: Path) -> int:
    """What the file at `path` may be used for, or a new one there."""
    with suppress(OSError):
        return path.stat().st_mode & 0o7777
    umask = os.umask(0)
    _ = os.umask(umask)
    return 0o666 & ~umask


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    A system that cannot say so is not asked.
    """
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Take the lock that a living writer holds on its part; False where somebody else has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sweep(target: Path) -> None:
    """Remove what killed processes left of a file: parts that no living writer holds."""
    for part in target.parent.glob(f".{_literal(target.name)}.*{PART}"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime < YOUNG:
                continue
            handle = os.open(part, os.O_RDWR)
            try:
                if _lock(handle):
                    part.unlink(missing_ok=True)
            finally:
                os.close(handle)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "[*?" else letter for letter in name)


@contextmanager
def instead_of(path: Path) -> Generator[Path]:
    """An empty folder to write into, which takes the place of `path` at the end.

    It is removed where that fails. What was in `path` is gone then; a folder that stayed empty
    takes no place. Makes missing folders above it. Raises `ValueError` where `path` is a file or a
    link, or lies below a file.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        message = (
            f"`path` (={str(path)!r}) must be a folder, but it is a "
            f"{'link' if path.is_symlink() else 'file'}"
        )
        raise ValueError(message)
    fresh, old = (path.with_name(f".{path.name}.{word}") for word in ("new", "old"))
    if old.exists() and not path.exists():  # a process was killed between the two renames
        _ = old.rename(path)
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
        if (
            isinstance(error, OSError)
            and error.filename is not None
            and str(error.filename).startswith(str(fresh))
        ):
            name = str(path) + str(error.filename).removeprefix(str(fresh))
            raise OSError(error.errno, error.strerror, name) from error  # the name that users know
        raise
    finally:
        for rest in (fresh, old):
            shutil.rmtree(rest, ignore_errors=True)


def leftovers(folder: Path) -> list[Path]:
    """What killed processes left in a folder and those below it.

    Whoever has the folder to himself may remove them.
    """
    return sorted(folder.rglob(f".*{PART}"))


def make_folder(path: Path) -> None:
    """Make a folder and those above it; raises `ValueError` where one of them is a file."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        message = f"`path` (={str(path)!r}) must be a folder, but it, or one above it, is a file"
        raise ValueError(message) from None
