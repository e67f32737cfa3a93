"""Files appear whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from backstride.files import beside, instead_of, leftovers, write_beside


def test_text_and_bytes_and_missing_folders(tmp_path: Path) -> None:
    write_beside(tmp_path / "a" / "b.txt", "grün")
    write_beside(tmp_path / "a" / "c.bin", b"\x00\x01")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "grün"
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\x01"


def test_a_failed_rename_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    write_beside(target, "old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, f"no space left for {target.name} ({self.name})")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        write_beside(target, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert target.read_text() == "old"


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_beside(tmp_path / "x", "x")
    finally:
        _ = os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


@pytest.mark.parametrize("bad", ["folder", "file/below"])
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, bad: str) -> None:
    (tmp_path / "folder").mkdir()
    _ = (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"^`path` \(='.*'\) (is a folder|must be a folder)"):
        write_beside(tmp_path / bad, "x")


def test_a_library_writes_beside_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "film.mp4"
    with beside(target) as part:
        _ = part.write_bytes(b"all of it")
        assert leftovers(tmp_path) == [part]
        assert not target.exists()
    assert target.read_bytes() == b"all of it"
    with pytest.raises(OSError, match="full"):
        fill(target)
    assert [path.name for path in target.parent.iterdir()] == ["film.mp4"]
    assert target.read_bytes() == b"all of it"


def fill(target: Path) -> None:
    with beside(target) as part:
        _ = part.write_bytes(b"half")
        message = "full"
        raise OSError(message)


def test_a_folder_takes_the_place_of_another_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "all" / "pictures"
    for names in (["a", "b"], ["c"]):
        with instead_of(place) as folder:
            for name in names:
                _ = (folder / name).write_text(name)
        assert sorted(path.name for path in place.iterdir()) == names

    def half() -> None:
        with instead_of(place) as folder:
            _ = (folder / "d").write_text("half")
            message = "stopped"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="stopped"):
        half()
    assert [path.name for path in place.iterdir()] == ["c"]
    with instead_of(place):
        pass
    assert not list(place.parent.iterdir())


def test_a_folder_comes_back_where_its_place_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, rename = tmp_path / "pictures", Path.rename
    place.mkdir()
    _ = (place / "a").write_text("old")

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError(28, "no space left")
        return rename(self, target)

    def replaced() -> None:
        with instead_of(place) as folder:
            _ = (folder / "b").write_text("new")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no space left"):
        replaced()
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert [path.name for path in place.iterdir()] == ["a"]


def test_only_folders_are_replaced(tmp_path: Path) -> None:
    def replaced(path: Path) -> None:
        with instead_of(path):
            pass

    _ = (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ValueError, match=rf"^`path` \(='.*{name}'\) must be a folder, but it is a {name}$"):
            replaced(tmp_path / name)
