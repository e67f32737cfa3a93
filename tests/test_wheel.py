"""The wheel is whole: what an ordinary installation has, not what a checkout has.
Python alone, so it takes seconds.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "backstride"
COMMANDS = (
    *("demo", "transpose", "segment", "sizes", "explain", "explore", "port", "conform"),
    *(
        f"roads {name}"
        for name in ("train", "evaluate", "predict", "export", "synthesize", "labels")
    ),
)
IMPORTS = """
import importlib, pkgutil, backstride
for module in pkgutil.walk_packages(backstride.__path__, "backstride."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] == "backstride":
            print(module.name, error)
print(backstride.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    settings = (
        "--config-settings=cmake.define.BACKSTRIDE_NATIVE=OFF",
        f"--config-settings=build-dir={folder / 'b'}",
    )
    pip = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        *settings,
    )
    _ = subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, timeout=120)
    (made,) = folder.glob("backstride-*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the wheel, and all else from this environment but what is installed
    editable.
    """
    folder = tmp_path_factory.mktemp("installed")
    _ = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60
    )
    made = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    _ = (site / "others.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("-packages"))
    )
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(made),
        "install",
        "--quiet",
        "--no-deps",
        "--ignore-installed",
    )
    _ = subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, timeout=120)
    return made


def test_every_file_of_the_source_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if name.startswith("backstride/")}
    files = (
        path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    wanted = {
        path.relative_to(SOURCE.parent).as_posix()
        for path in files
        if path.suffix not in (".so", ".pyd")
    }
    assert len(wanted) > 100
    assert found == wanted


def test_every_module_of_the_wheel_imports(python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(python), "-c", IMPORTS],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    *failed, place = done.stdout.splitlines()
    assert failed == []
    assert Path(place).is_relative_to(python.parents[1])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_wheel_starts(python: Path, command: str, tmp_path: Path) -> None:
    program = str(python.with_name("backstride"))
    for start in ([program], [str(python), "-m", "backstride"]):
        done = subprocess.run(
            [*start, *command.split(), "--help"],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Usage: backstride {command}" in done.stdout
