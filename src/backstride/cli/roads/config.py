"""Options that set a run's config, made from its fields, and the config that they give."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, cast

import typer

from backstride.cli import parse
from backstride.roads.config import (
    RunConfig,
    Setting,
    changed,
    check_config,
    located,
    require_named,
    settings_of,
)
from backstride.roads.data.folders import require_there
from backstride.roads.toml import read_config

READERS: dict[str, Callable[[str], object]] = {
    "data__size": functools.partial(parse.pair, "size"),
    "model__skips": parse.skips,
}
TYPES: dict[object, object] = {"int": int, "float": float, "str": str, "bool": bool}


@dataclasses.dataclass(frozen=True)
class _Option:
    """An option of a command that sets a field of a section, named `section__field`."""

    path: str
    default: object
    known: Setting
    kind: object

    @property
    def name(self) -> str:
        """The parameter's name: that of the option, without dashes."""
        return self.known.option.partition("/")[0].strip("-") or self.path.partition("__")[2]

    def parameter(self, text: str | None) -> inspect.Parameter:
        """As typer reads it from a command; `text`: another help text than the field's."""
        known, repeats = self.known, self.path not in READERS and self.kind not in TYPES
        kind = list[str] if repeats else TYPES.get(self.kind, str)
        option = typer.Option(
            *([known.option] if known.option else []),
            metavar=None if kind is bool else known.metavar,
            min=known.least,
            rich_help_panel=known.panel if text is None else None,
            help=text or _with_default(known.text, self.default),
        )
        annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
        )

    def value(self, given: object) -> object:
        """The field's value of what was given, None for what was not."""
        if not given and isinstance(given, list | None):
            return None
        if isinstance(given, list):
            return tuple(cast("list[str]", given))
        return READERS[self.path](str(given)) if self.path in READERS else given


def _with_default(text: str, default: object) -> str:
    """A help text with the default at its end.

    >>> _with_default("Passes over the data.", 20)
    'Passes over the data (default 20).'
    """
    if default in ("", ()) or isinstance(default, bool):
        return text
    shown = str(default).removesuffix(".0").strip("()").replace(", ", ",")
    return f"{text.removesuffix('.')} (default {shown})."


def _options() -> list[_Option]:
    """Every setting that a command can give, by the panels of the help."""
    return [
        _Option(f"{section.name}__{entry.name}", entry.default, known, entry.type)
        for section in dataclasses.fields(RunConfig)
        for entry, known in settings_of(section.default_factory)
        if known.metavar
    ]


def with_settings(
    texts: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting of a run.

    Its argument `options` then has those that were given.

    Args:
        texts: the settings that the command has, such as `train__epochs`, each with a help text of
            its own or "" for that of the field; all with those of the fields where this is left
            out.
    """
    chosen = [option for option in _options() if texts is None or option.path in texts]

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            entry
            for entry in inspect.signature(command, eval_str=True).parameters.values()
            if entry.name != "options"
        ]

        @functools.wraps(command)
        def run(**words: object) -> None:
            options = {option.path: option.value(words.pop(option.name)) for option in chosen}
            command(**words, options=options)

        parameters = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in own]
        parameters += [
            option.parameter(None if texts is None else texts[option.path]) for option in chosen
        ]
        vars(run).pop("__wrapped__")  # typer would read its annotations
        vars(run)["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {entry.name: entry.annotation for entry in parameters}
        return run

    return decorated


def present(name: str, path: Path) -> None:
    """Refuse what is not there before libraries are loaded that take seconds."""
    if not path.exists():
        message = f"`{name}` (={str(path)!r}) does not exist"
        raise ValueError(message)


def given(config: Path | None, out: Path, options: dict[str, object], *, resume: bool) -> RunConfig:
    """The config of a file, of the run that goes on, or the default, with the given options."""
    saved = out / "config.toml"
    start, source = options.get("train__start"), config or saved
    if config is not None:
        base = located(read_config(config), config.parent)
    elif resume and saved.is_file():
        base = read_config(saved)
    elif start is not None:
        from backstride.roads.network.checkpoint import config_of, found  # noqa: PLC0415  loads torch

        source = found(Path(str(start)))
        base = changed(RunConfig(model=config_of(source).model), model__weights="")
    else:
        base = RunConfig()
    chosen, named = changed(base, **options), options.get("model__encoder")
    if named is None:  # what the words name may run, what a file names may not
        require_named(chosen.model.encoder, None, str(source))
    check_config(chosen)
    if chosen.data.folder:
        require_there(Path(chosen.data.folder))
    return chosen
