from __future__ import annotations

import dataclasses
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.roads.config import (
    DataConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
    changed,
    check_config,
    settings_of,
)
from backstride.roads.toml import from_toml, read_config, to_toml

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@given(
    st.builds(
        ModelConfig, encoder=TEXTS, weights=TEXTS, skips=st.lists(st.integers(1, 32)).map(tuple)
    ),
    st.builds(DataConfig, folder=TEXTS, held_out=st.lists(TEXTS).map(tuple), augment=TEXTS),
    st.builds(
        TrainConfig, rate=st.floats(0, 1), decay=st.floats(0, 1e-9), epochs=st.integers(1, 10**9)
    ),
)
def test_comes_back_from_its_text(model: ModelConfig, data: DataConfig, train: TrainConfig) -> None:
    config = RunConfig(model, data, train)
    assert from_toml(to_toml(config)) == config


def test_versions_and_hashes_are_kept_in_the_text_and_not_read() -> None:
    text = to_toml(RunConfig(), {"versions": {"torch": "2.13.0+cpu"}, "hashes": {"train": "a1"}})
    assert tomllib.loads(text)["versions"] == {"torch": "2.13.0+cpu"}
    assert from_toml(text) == RunConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nepoch = 3", "`train.epoch` in config is no key; the nearest is `train.epochs`"),
        ("[trian]\nepochs = 3", "`trian` in config is no key; the nearest is `train`"),
        ("[train]\nepochs = '3'", "`train.epochs` (='3') in config must be int"),
        ("[train]\nepochs = true", "`train.epochs` (=True) in config must be int"),
        ("[data]\nsize = ['a']", "`data.size` (='a') in config must be int"),
        ("[data]\nsize = 3", "`data.size` (=3) in config must be a list"),
        ("train = 3", "`train` (=3) in config must be a table"),
    ],
)
def test_refuses_what_it_does_not_know(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^`") as caught:
        _ = from_toml(text)
    assert str(caught.value) == message


def test_refuses_what_is_no_toml() -> None:
    with pytest.raises(ValueError, match=r"^`config` is no TOML: "):
        _ = from_toml("[train\n")


def test_whole_numbers_are_numbers() -> None:
    assert from_toml("[train]\nrate = 1").train.rate == 1.0


def test_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ValueError, match=r"^`config`") as caught:
        _ = read_config(path)
    assert str(caught.value) == f"`config` (={str(path)!r}) does not exist"
    _ = path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"^`config` \(=.*none.toml'\) cannot be read: "):
        _ = read_config(path)


def test_changes_only_what_is_given() -> None:
    made = changed(RunConfig(), train__epochs=7, data__folder="here", model__encoder=None)
    assert made == RunConfig(data=DataConfig("here"), train=TrainConfig(7))


def test_the_page_of_options_has_each_key_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs/roads-config.md").read_text(encoding="utf-8")
    found = {
        name: re.findall(r"^\| `(\w+)` \| .* \| `(.+?)` \| .+ \|$", part, re.MULTILINE)
        for name, part in zip(
            re.findall(r"## `\[(\w+)\]`", page), page.split("\n## ")[1:], strict=True
        )
    }
    defaults = tomllib.loads(to_toml(RunConfig()))
    assert list(found) == [section.name for section in dataclasses.fields(RunConfig)]
    for name, rows in found.items():
        assert tomllib.loads("\n".join(f"{key} = {value}" for key, value in rows)) == defaults[name]
        assert [key for key, _ in rows] == list(defaults[name])


def test_the_page_of_options_is_written_from_the_fields() -> None:
    spec = importlib.util.spec_from_file_location(
        "roads_options", Path(__file__).parents[2] / "docs/roads_options.py"
    )
    assert spec is not None
    assert spec.loader is not None
    options = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(options)
    text = options.PAGE.read_text(encoding="utf-8")
    assert options.page(text) == text, "run: python docs/roads_options.py"
    assert options.page(text.replace("Passes over the data.", "Passes.")) == text


@pytest.mark.parametrize("section", [ModelConfig, DataConfig, TrainConfig])
def test_a_setting_is_described_once_for_docstring_and_help(section: type[object]) -> None:
    for entry, known in settings_of(section):
        assert known.text.endswith(".")
        assert f"{entry.name}: {known.text}" in str(section.__doc__)
        assert bool(known.metavar) == bool(known.panel)


@pytest.mark.parametrize("value", [-1, float("inf")])
def test_every_setting_has_its_least_value(value: float) -> None:
    sections: tuple[tuple[str, type[object]], ...] = (("data", DataConfig), ("train", TrainConfig))
    for name, section in sections:
        for entry, known in settings_of(section):
            if known.least is not None:
                with pytest.raises(
                    ValueError,
                    match=rf"^`{entry.name}` .* the nearest legal value is {known.least}$",
                ):
                    check_config(changed(RunConfig(), **{f"{name}__{entry.name}": value}))
