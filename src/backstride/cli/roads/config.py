"""The config that the words of a command give."""

from __future__ import annotations

from pathlib import Path

from backstride.roads.config import RunConfig, changed, check_config, located, read_config, require_named
from backstride.roads.data import require_there


def present(name: str, path: Path) -> None:
    """Refuse what is not there before libraries are loaded that take seconds."""
    if not path.exists():
        message = f"`{name}` (={str(path)!r}) does not exist"
        raise ValueError(message)


def given(config: Path | None, out: Path, options: dict[str, object], *, resume: bool) -> RunConfig:
    """The config of a file, of the run that goes on, or the default one, with the options that were given."""
    saved = out / "config.toml"
    start, source = options.get("train__start"), config or saved
    if config is not None:
        base = located(read_config(config), config.parent)
    elif resume and saved.is_file():
        base = read_config(saved)
    elif start is not None:
        from backstride.roads.checkpoint import config_of, found  # noqa: PLC0415  loads torch

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
