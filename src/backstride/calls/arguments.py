"""From text to named arguments: `ast` reads, nothing runs, and every refusal says where in the text."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

LONGEST = 4000
EXAMPLE = 'Conv2DTranspose(128, 3, strides=2, padding="same")'
MAKERS = ("empty", "normal", "ones", "rand", "randn", "zeros")


@dataclass(frozen=True, slots=True)
class Opaque:
    """An expression that is no literal, as a tensor's name; `shape` where it is made in place by ones(...) and such."""

    text: str
    shape: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Argument:
    """A value, and its place in the text."""

    value: Any
    place: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of a call by their names; `function` is the full name."""

    function: str
    values: Mapping[str, Argument]

    def __contains__(self, name: str) -> bool:
        return name in self.values and self.values[name].value is not None

    def literal(self, name: str, default: Any = None) -> Any:
        """A number, string, tuple, or None; a name in its place is refused."""
        argument = self.values.get(name)
        if argument is None:
            return default
        if isinstance(argument.value, Opaque) or (
            is_tuple(argument.value) and any(isinstance(entry, Opaque) for entry in argument.value)
        ):
            message = (
                f"`{name}` (={argument.value!r}) at {argument.place} must be written out, for example {name}=2: "
                "names are not looked up"
            )
            raise ValueError(message)
        return argument.value

    def required(self, name: str, example: str) -> Any:
        """A literal that the framework has no default for."""
        if name not in self.values:
            message = f"`{name}` is missing from {self.function}; for example {name}={example}"
            raise ValueError(message)
        return self.literal(name)

    def raw(self, name: str) -> Any:
        """A value that may be a name."""
        argument = self.values.get(name)
        return None if argument is None else argument.value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or False."""
        value = self.literal(name, default)
        if not isinstance(value, bool):
            self.refuse(name, "True or False", str(default))
        return value

    def count(self, name: str, default: int | None = None) -> int | None:
        """A positive integer, or what stands for an unknown one: a name or None."""
        value = self.raw(name)
        if value is None or isinstance(value, Opaque):
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            self.refuse(name, "a positive integer", "1")
        return value

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

    def refuse(self, name: str, rule: str, nearest: str) -> NoReturn:
        """Refuse a value, with its place."""
        argument = self.values[name]
        message = (
            f"`{name}` (={argument.value!r}) at {argument.place} must be {rule}; the nearest legal call has "
            f"{name}={nearest}"
        )
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Written:
    """A call as it stands in the text: its dotted name, and the arguments as expressions."""

    name: str
    place: str
    positional: tuple[Argument, ...]
    named: Mapping[str, Argument]

    def bind(self, function: str, parameters: Sequence[str], keyword_only: Sequence[str]) -> Arguments:
        """Give each argument its parameter's name, as Python does."""
        values: dict[str, Argument] = {}
        if len(self.positional) > len(parameters):
            extra = self.positional[len(parameters)]
            taken = f"at most {len(parameters)} positional arguments: {', '.join(parameters)}"
            message = f"`call` has one positional argument too many at {extra.place}; {function} takes {taken}"
            raise ValueError(message)
        values.update(zip(parameters, self.positional, strict=False))
        known = (*parameters, *keyword_only)
        for name, argument in self.named.items():
            if name not in known:
                message = f"`{name}` at {argument.place} is no argument of {function}; {nearest(name, known)}"
                raise ValueError(message)
            if name in values:
                message = f"`{name}` at {argument.place} is given twice to {function}; give it once"
                raise ValueError(message)
            values[name] = argument
        return Arguments(function, values)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Whether a value is a tuple, lists of the text having become tuples."""
    return isinstance(value, tuple)


def nearest(name: str, known: Iterable[str]) -> str:
    """The nearest names, or all where none is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"the nearest are {', '.join(close)}" if close else f"it takes {', '.join(names)}"


def read_call(text: str) -> tuple[Written, Written | None]:
    """The call in the text, and the one on its result: `Layer(...)(x)`. An assignment's value counts."""
    if len(text) > LONGEST:
        message = f"`call` has {len(text)} characters; at most {LONGEST} are read"
        raise ValueError(message)
    try:
        statements = ast.parse(text).body
    except SyntaxError as error:
        column = len((error.text or "")[: max((error.offset or 1) - 1, 0)]) + 1
        place = _place(text, error.lineno or 1, column)
        message = f"`call` cannot be read at {place}: {error.msg}; expected a call such as {EXAMPLE}"
        raise ValueError(message) from None
    except (ValueError, MemoryError, RecursionError) as error:
        message = f"`call` cannot be read: {type(error).__name__}; expected a call such as {EXAMPLE}"
        raise ValueError(message) from None
    statement = statements[0] if len(statements) == 1 else None
    value = statement.value if isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign) else None
    if not isinstance(value, ast.Call):
        place = _where(text, statements[1] if len(statements) > 1 else value or statement)
        message = f"`call` is no single call at {place}; expected one such as {EXAMPLE}"
        raise ValueError(message)  # noqa: TRY004  the text is at fault
    if isinstance(value.func, ast.Call):
        return _written(text, value.func), _written(text, value)
    return _written(text, value), None


def read_value(text: str) -> Any:
    """One value alone: a literal, or an `Opaque`."""
    try:
        return _value(text, ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return Opaque(_short(text))


def _written(text: str, node: ast.Call) -> Written:
    name = "" if isinstance(node.func, ast.Call) else _dotted(text, node.func)
    positional: list[Argument] = []
    for expression in node.args:
        if isinstance(expression, ast.Starred):
            _refuse_star(text, expression)
        positional.append(_argument(text, expression))
    named: dict[str, Argument] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            _refuse_star(text, keyword.value)
        named[keyword.arg] = Argument(_value(text, keyword.value), _where(text, keyword))
    return Written(name, _where(text, node), tuple(positional), named)


def _dotted(text: str, node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        message = f"`call` has no function's name at {_where(text, node)}; expected a call such as {EXAMPLE}"
        raise ValueError(message)  # noqa: TRY004  the text is at fault
    return ".".join([node.id, *reversed(parts)])


def _argument(text: str, node: ast.expr) -> Argument:
    return Argument(_value(text, node), _where(text, node))


def _value(text: str, node: ast.expr) -> Any:
    """A literal, or an `Opaque` for everything else. The depth is that of the parser, which bounds it."""
    match node:
        case ast.Constant(value=int() | str() | float() | bool() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Tuple(elts=entries) | ast.List(elts=entries):
            return tuple(_value(text, entry) for entry in entries)
        case _:
            shape = _made_shape(text, node) if isinstance(node, ast.Call) else None
            return Opaque(_short(ast.get_source_segment(text, node) or "..."), shape)


def _made_shape(text: str, node: ast.Call) -> tuple[int, ...] | None:
    """The shape in ones(2, 3), zeros((2, 3)) and such."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in MAKERS:
        return None
    for values in ([_value(text, entry) for entry in node.args], *([_value(text, entry)] for entry in node.args)):
        entries = values[0] if len(values) == 1 and is_tuple(values[0]) else values
        if len(entries) > 1 and all(isinstance(entry, int) and not isinstance(entry, bool) for entry in entries):
            return tuple(entries)
    return None


def _refuse_star(text: str, node: ast.expr) -> NoReturn:
    message = f"`call` has a * at {_where(text, node)}, which names arguments that are not in the text; write them out"
    raise ValueError(message)


def _where(text: str, node: ast.AST | None) -> str:
    line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
    # `ast` counts bytes; people count characters.
    lines = text.splitlines() or [""]
    before = lines[min(line, len(lines)) - 1].encode()[:offset]
    return _place(text, line, len(before.decode(errors="ignore")) + 1)


def _place(text: str, line: int, column: int) -> str:
    return f"column {column}" if "\n" not in text else f"line {line}, column {column}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
