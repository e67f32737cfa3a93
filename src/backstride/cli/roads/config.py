"""The config that the words of a command give."""

from __future__ import annotations

from pathlib import Path

from backstride.roads.config import RunConfig, changed, read_config, require_named


def given(config: Path | None, out: Path, options: dict[str, object], *, resume: bool) -> RunConfig:
    """The config of a file, of the run that goes on, or the default one, with the options that were given."""
    saved = out / "config.toml"
    if config is not None:
        base = read_config(config)
    elif resume and saved.is_file():
        base = read_config(saved)
    else:
        base = RunConfig()
    chosen, named = changed(base, **options), options.get("model__encoder")
    if named is None:  # what the words name may run, what a file names may not
        require_named(chosen.model.encoder, None, str(config or saved))
    return chosen
