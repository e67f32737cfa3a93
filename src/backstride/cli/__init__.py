"""The command line: parsing and printing only.

Each command calls one public function, and loads when it is called.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from backstride.cli.ending import EndedError

EXTRAS = {
    "demo": "demo",
    "segment": "segment",
    "explore": "explore",
    "port": "port",
    "roads": "roads",
    "roads export": "roads,onnx",
}
COMMANDS = (
    "demo",
    "transpose",
    "segment",
    "sizes",
    "explain",
    "explore",
    "port",
    "conform",
    "roads",
)
INTERRUPTED = 130


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The commands of these names.

    Each is the function, or the application, of its name in the module of its name.
    """
    app = typer.Typer(
        name="backstride",
        epilog="Try: backstride sizes --input 7 --output 14",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    _ = app.callback()(_backstride)  # one command alone would not be asked for by its name
    for name in names:
        command: typer.Typer | Callable[..., None] = getattr(
            importlib.import_module(f"backstride.cli.{name}"), name
        )
        if isinstance(command, typer.Typer):
            app.add_typer(command)
        else:
            _ = app.command()(command)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        from backstride.version import __version__  # noqa: PLC0415  asks the system for it

        typer.echo(f"backstride {__version__}")
        raise typer.Exit


def _backstride(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """The home of the transposed convolution."""
    _ = version


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input is one line on stderr and exit code 2, never a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    named = words[:1] if words and words[0] in COMMANDS else COMMANDS
    try:
        code = application(named)(args=words, prog_name="backstride", standalone_mode=False)
    except typer.Abort:
        _fail("stopped", INTERRUPTED)
    except TyperException as problem:
        _fail(problem.format_message(), 2)
    except OSError as problem:
        _fail(_of_a_file(problem), 2)
    except ModuleNotFoundError as problem:
        _fail(_of_a_package(problem, words), 2)
    except (ValueError, TypeError, ImportError) as problem:
        _fail(str(problem), 2)
    except EndedError as end:
        _fail(str(end), end.code)
    except KeyboardInterrupt:
        _fail("stopped", INTERRUPTED)
    if code == INTERRUPTED:  # typer makes a code of a KeyboardInterrupt
        _fail("stopped", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _of_a_file(problem: OSError) -> str:
    """The system's words about a file; those of our own are whole sentences."""
    if problem.filename is None or problem.strerror is None:
        return str(problem)
    return f"{problem.filename}: {problem.strerror.lower()}"


def _of_a_package(problem: ModuleNotFoundError, words: list[str]) -> str:
    """Python's words about a package that is missing; those of our own are whole sentences."""
    if problem.name is None or not str(problem).startswith("No module named"):
        return str(problem)
    package = problem.name.partition(".")[0]
    extra = EXTRAS.get(" ".join(words[:2]), EXTRAS.get(words[0]))
    wanted = package if extra is None else f'"backstride[{extra}]"'
    return f"`{words[0]}` needs {package}, which is not installed: pip install {wanted}"


def _fail(message: str, code: int) -> NoReturn:
    if message:
        typer.echo(f"backstride: {message}", err=True)
    sys.exit(code)
