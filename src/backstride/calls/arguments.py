"""The arguments of a call by their names; every refusal says where in the text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeGuard


@dataclass(frozen=True, slots=True)
class Opaque:
    """An expression that is no literal, as a tensor's name.

    `shape` where it is made in place by ones(...) and such.
    """

    text: str
    shape: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Argument:
    """A value, its place in the text, and how it is written there."""

    value: object
    place: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a call by their names; `function` is the full name."""

    function: str
    values: Mapping[str, Argument]

    def __contains__(self, name: str) -> bool:
        return name in self.values and self.values[name].value is not None

    @property
    def texts(self) -> dict[str, str]:
        """Every argument as it is written."""
        return {name: argument.text for name, argument in self.values.items()}

    def literal(self, name: str, default: object = None) -> object:
        """A number, string, tuple, or None; a name in its place is refused."""
        argument = self.values.get(name)
        if argument is None:
            return default
        if isinstance(argument.value, Opaque) or (
            is_tuple(argument.value) and any(isinstance(entry, Opaque) for entry in argument.value)
        ):
            self.refuse_name(name)
        return argument.value

    def required(self, name: str, example: str) -> object:
        """A literal that the framework has no default for."""
        if name not in self.values:
            message = f"`{name}` is missing from {self.function}; for example {name}={example}"
            raise ValueError(message)
        return self.literal(name)

    def raw(self, name: str) -> object:
        """A value that may be a name."""
        argument = self.values.get(name)
        return None if argument is None else argument.value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or False."""
        value = self.literal(name, default)
        if value not in {True, False, None}:  # 1 and 0 too, as the frameworks take them
            self.refuse(name, "True or False", str(default))
        return bool(value)

    def count(self, name: str) -> int | None:
        """A positive integer, or None for what stands for an unknown one: a name or None."""
        value = self.raw(name)
        if value is None or isinstance(value, Opaque):
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            self.refuse(name, "a positive integer", "1")
        return value

    def groups(self, name: str = "groups") -> int:
        """The number of groups, 1 where the call does not say it."""
        if isinstance(self.raw(name), Opaque):
            self.refuse_name(name)
        return self.count(name) or 1

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor that the text makes in place."""
        value = self.raw(name)
        return value.shape if isinstance(value, Opaque) else None

    def word(self, name: str) -> str | None:
        """A function's name: a string, or the last part of a dotted name."""
        value = self.raw(name)
        text = value.text.rpartition(".")[2] if isinstance(value, Opaque) else value
        if text is not None and not isinstance(text, str):
            self.refuse(name, "a name", '"relu"')
        return text

    def refuse_name(self, name: str) -> NoReturn:
        """Refuse a name where a number must stand."""
        argument = self.values[name]
        message = (
            f"`{name}` (={argument.value!r}) at {argument.place} must be written out, for example "
            f"{name}=2: names are not looked up, and are given with --set name=value"
        )
        raise ValueError(message)

    def refuse(self, name: str, rule: str, nearest: str, *, known: bool = True) -> NoReturn:
        """Refuse a value, with its place.

        Where what would be legal is not `known`, with an example.
        """
        argument = self.values[name]
        words = "the nearest legal call has" if known else "for example"
        message = (
            f"`{name}` (={argument.value!r}) at {argument.place} must be {rule}; {words} "
            f"{name}={nearest}"
        )
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class WrittenCall:
    """A call as it stands in the text: its dotted name, and the arguments as expressions."""

    name: str
    place: str
    positional: tuple[Argument, ...]
    named: Mapping[str, Argument]
    text: str = ""

    def bind(
        self, function: str, parameters: Sequence[str], keyword_only: Sequence[str]
    ) -> Arguments:
        """Give each argument its parameter's name, as Python does."""
        values: dict[str, Argument] = {}
        if len(self.positional) > len(parameters):
            extra = self.positional[len(parameters)]
            taken = f"at most {len(parameters)} positional arguments: {', '.join(parameters)}"
            message = (
                f"`call` has one positional argument too many at {extra.place}; {function} takes "
                f"{taken}"
            )
            raise ValueError(message)
        values.update(zip(parameters, self.positional, strict=False))
        known = (*parameters, *keyword_only)
        for name, argument in self.named.items():
            if name not in known:
                message = (
                    f"`{name}` at {argument.place} is no argument of {function}; "
                    f"{nearest(name, known)}"
                )
                raise ValueError(message)
            if name in values:
                message = f"`{name}` at {argument.place} is given twice to {function}; give it once"
                raise ValueError(message)
            values[name] = argument
        return Arguments(function, values)


def is_tuple(value: object) -> TypeGuard[tuple[object, ...]]:
    """Whether a value is a tuple, lists of the text having become tuples."""
    return isinstance(value, tuple)


def nearest(name: str, known: Iterable[str]) -> str:
    """The nearest names, or all where none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"the nearest are {', '.join(close)}" if close else f"it takes {', '.join(names)}"
