"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backstride.files import beside, check_file, check_folder, instead_of, leftovers, write_beside


def test_text_and_bytes_and_missing_folders(tmp_path: Path) -> None:
    write_beside(tmp_path / "a" / "b.txt", "grün")
    write_beside(tmp_path / "a" / "c.bin", b"\x00\x01")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "grün"
    assert (tmp_path / "a" / "c.bin").read_bytes() == b"\x00\x01"


def test_a_failed_rename_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_folder_comes_back_where_its_place_cannot_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        with pytest.raises(
            ValueError, match=rf"^`path` \(='.*{name}'\) must be a folder, but it is a {name}$"
        ):
            replaced(tmp_path / name)


def test_what_may_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    _ = photo.write_text("a photograph")
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "twin.png")
    os.mkfifo(tmp_path / "pipe.png")
    inputs = {"photo": photo, "names": None, "weights": tmp_path / "missing"}
    for name in ("photo.png", "link.png", "twin.png"):
        with pytest.raises(
            ValueError,
            match=rf"{name}'\) is the file that `photo` \(='.*'\) reads; name another one$",
        ):
            check_file("output", tmp_path / name, inputs=inputs)
    with pytest.raises(
        ValueError,
        match=r"^`output` \(='.*pipe.png'\) is no ordinary file; name one, or a new one$",
    ):
        check_file("output", tmp_path / "pipe.png")
    with pytest.raises(ValueError, match=r"^`svg` \(='.*a.gif'\) must end in .svg$"):
        check_file("svg", tmp_path / "a.gif", endings=(".svg",))
    with pytest.raises(
        ValueError,
        match=r"^`out` \(='.*x'\) lies in a folder that does not exist; make it first: mkdir",
    ):
        check_file("out", tmp_path / "no" / "such" / "x")
    with pytest.raises(
        ValueError, match=r"^`out` \(='.*x'\) lies below '.*photo.png', which is a file$"
    ):
        check_folder("out", photo / "deep" / "x")
    with pytest.raises(
        ValueError, match=r"^`out` \(='.*photo.png'\) must be a folder, but it is a file$"
    ):
        check_folder("out", photo)
    check_file("output", tmp_path / "new.PNG", endings=(".png",), inputs=inputs)
    check_folder("out", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    target, link = tmp_path / "kept" / "secret", tmp_path / "link"
    target.parent.mkdir()
    _ = target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_beside(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_is_on_the_disk_before_its_name_and_then_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def replaced(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_beside(tmp_path / "model", "weights")
    assert steps == ["file", "name", "folder"]


def test_the_next_write_removes_what_a_killed_one_left_and_no_living_one_s(tmp_path: Path) -> None:
    target = tmp_path / "model[1]"
    program = (
        "import os, signal, sys; from pathlib import Path; from backstride.files import beside\n"
        "with beside(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(target)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (dead,) = leftovers(tmp_path)
    os.utime(dead, (0, 0))
    with beside(target) as living:
        os.utime(living, (0, 0))
        write_beside(target, "new")
        assert leftovers(tmp_path) == [living]
    young = tmp_path / f".{target.name}.young.part"
    _ = young.write_text("")
    write_beside(target, "newer")
    assert leftovers(tmp_path) == [young]


def test_a_folder_comes_back_that_a_killed_process_had_moved_away(tmp_path: Path) -> None:
    (tmp_path / ".pictures.old").mkdir()
    _ = (tmp_path / ".pictures.old" / "a").write_text("mine")
    with instead_of(tmp_path / "pictures") as fresh:
        assert (tmp_path / "pictures" / "a").read_text() == "mine"
        _ = (fresh / "b").write_text("new")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["b"]
