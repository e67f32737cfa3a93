"""The command line: parsing and printing only. Each command calls one public function."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from backstride.cli.conform import conform
from backstride.cli.demo import demo
from backstride.cli.segment import segment
from backstride.cli.sizes import sizes
from backstride.cli.transpose import transpose

app = typer.Typer(
    name="backstride",
    help="The home of the transposed convolution.",
    epilog="Try: backstride sizes --input 7 --output 14",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, sizes, conform, transpose, segment):
    _ = app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; bad input is one line on stderr and exit code 2, never a traceback."""
    try:
        code = app(args=arguments, prog_name="backstride", standalone_mode=False)
    except typer.Abort:
        _fail("stopped", 130)
    except TyperException as problem:
        _fail(problem.format_message(), 2)
    except (ValueError, TypeError, ImportError, OSError) as problem:
        _fail(str(problem), 2)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    if message:
        typer.echo(f"backstride: {message}", err=True)
    sys.exit(code)
