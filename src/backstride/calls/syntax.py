"""From text to calls: `ast` reads, nothing runs, and every refusal says where in the text.

What people paste is read as it stands: an assignment, a trailing comma, `model.add(...)`,
`weight_norm(...)` around a layer, the layers of a Sequential, `3 // 2`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias, TypeGuard

from backstride.calls.arguments import Argument, Opaque, WrittenCall, is_tuple

LONGEST = 4000
LARGEST = 2**63
EXAMPLE = 'Conv2DTranspose(128, 3, strides=2, padding="same")'
MAKERS = ("empty", "normal", "ones", "parameter", "rand", "randn", "zeros")
# Calls around a layer, which is their first argument; methods of a layer that give it back; lists
# of layers.
AROUND = ("add", "append", "remove_weight_norm", "spectral_norm", "weight_norm")
METHODS = (
    "apply",
    "cpu",
    "cuda",
    "double",
    "eval",
    "float",
    "half",
    "requires_grad_",
    "to",
    "train",
)
ACTIVATIONS = ("elu", "gelu", "leaky_relu", "relu", "selu", "sigmoid", "silu", "tanh")
LISTS = ("ModuleList", "OrderedDict", "Sequential", "sequential")
OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: lambda left, right: left % right,
    ast.Pow: lambda left, right: left**right,
}
Found: TypeAlias = tuple[WrittenCall, WrittenCall | None]
FUNCTIONS: dict[str, Callable[..., float]] = {"int": int, "max": max, "min": min}


@dataclass(frozen=True, slots=True)
class Source:
    """A text, and the values of the names in it that its user gives."""

    text: str
    names: Mapping[str, object] = field(default_factory=dict[str, object])

    def calls(self) -> list[Found]:
        """The calls in the text in their order, each with the one on its result.

        `Layer(...)(x)`.
        """
        if len(self.text) > LONGEST:
            message = f"`call` has {len(self.text)} characters; at most {LONGEST} are read"
            raise ValueError(message)
        try:
            statements = ast.parse(self.text).body
        except SyntaxError as error:
            column = len((error.text or "")[: max((error.offset or 1) - 1, 0)]) + 1
            place = self._place(error.lineno or 1, column)
            message = (
                f"`call` cannot be read at {place}: {error.msg}; expected a call such as {EXAMPLE}"
            )
            raise ValueError(message) from None
        except (ValueError, MemoryError, RecursionError) as error:
            message = (
                f"`call` cannot be read: {type(error).__name__}; expected a call such as {EXAMPLE}"
            )
            raise ValueError(message) from None
        found: list[Found] = []
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                continue
            if (
                not isinstance(statement, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
                or statement.value is None
            ):
                self._refuse_other(statement)
            found += self._layers(statement.value)
        if not found:
            self._refuse_other(None)
        return found

    def value(self) -> object:
        """One value alone: a literal, or an `Opaque`."""
        try:
            return self._value(ast.parse(self.text, mode="eval").body)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return Opaque(_short(self.text))

    def _layers(self, node: ast.expr) -> Iterator[Found]:
        """The calls of an expression: itself, what stands in it, or those of a list of layers."""
        match node:
            case ast.Tuple(elts=entries) | ast.List(elts=entries):
                named = len(entries) == 2 and isinstance(entries[0], ast.Constant)
                for entry in entries[1:] if named else entries:
                    yield from self._layers(entry)
            case ast.Call(func=ast.Call() as layer):
                ((written, _), *others) = self._layers(layer)
                if others:
                    self._refuse_other(node)
                yield written, self._written(node)
            case ast.Call(func=ast.Attribute(value=ast.Call() as layer, attr=name)) if (
                name in METHODS
            ):
                yield from self._layers(layer)
            case ast.Call():
                inside = self._inside(node)
                if inside is None:
                    yield self._written(node), None
                for entry in inside or ():
                    yield from self._layers(entry)
            case ast.Starred():
                self._refuse_star(node)
            case _:
                self._refuse_other(node)

    def _inside(self, node: ast.Call) -> list[ast.expr] | None:
        """The layers that a call is around; None where it is one itself."""
        name = self._dotted(node.func).rpartition(".")[2]
        if name in LISTS:
            return [*node.args, *(word.value for word in node.keywords if word.arg == "layers")]
        around = name in AROUND or (
            name in ACTIVATIONS and isinstance(node.args[0] if node.args else None, ast.Call)
        )
        return node.args[:1] if around and node.args else None

    def _written(self, node: ast.Call) -> WrittenCall:
        name = "" if isinstance(node.func, ast.Call) else self._dotted(node.func)
        positional: list[Argument] = []
        for expression in node.args:
            if isinstance(expression, ast.Starred):
                self._refuse_star(expression)
            positional.append(self._argument(expression, expression))
        named: dict[str, Argument] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                self._refuse_star(keyword.value)
            named[keyword.arg] = self._argument(keyword.value, keyword)
        text = " ".join((ast.get_source_segment(self.text, node) or "").split())
        return WrittenCall(name, self._where(node), tuple(positional), named, text)

    def _argument(self, node: ast.expr, place: ast.AST) -> Argument:
        return Argument(
            self._value(node), self._where(place), ast.get_source_segment(self.text, node) or ""
        )

    def _dotted(self, node: ast.expr) -> str:
        name = _name(node)
        if name is None:
            message = (
                f"`call` has no function's name at {self._where(node)}; expected a call such as "
                f"{EXAMPLE}"
            )
            raise ValueError(message)
        return name

    def _value(self, node: ast.expr) -> object:
        """A literal, what is computed from literals, or an `Opaque`.

        As deep as the parser goes, which bounds it.
        """
        match node:
            case ast.Constant(value=int() | str() | float() | bool() | None as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self._value(operand)
                return -number if _is_number(number) else self._opaque(node)
            case ast.Tuple(elts=entries) | ast.List(elts=entries):
                return tuple(self._value(entry) for entry in entries)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
                return self._computed(
                    node, OPERATORS[type(sign)], self._value(left), self._value(right)
                )
            case ast.Call(func=ast.Name(id=name), args=operands, keywords=[]) if name in FUNCTIONS:
                return self._computed(node, FUNCTIONS[name], *map(self._value, operands))
            case _:
                name = ast.get_source_segment(self.text, node) or ""
                return self.names[name] if name in self.names else self._opaque(node)

    def _computed(
        self, node: ast.expr, function: Callable[..., float], *operands: object
    ) -> object:
        """Arithmetic on numbers, and (3,) * 2, where it stays small."""
        sign = node.op if isinstance(node, ast.BinOp) else None
        if isinstance(sign, ast.Mult) and is_tuple(operands[0]):
            row, times = operands[0], operands[1]
            return (
                row * times if isinstance(times, int) and times in {1, 2, 3} else self._opaque(node)
            )
        numbers = [entry for entry in operands if _is_number(entry) and abs(entry) < LARGEST]
        legal = len(numbers) == len(operands)
        if legal and isinstance(sign, ast.Pow):
            base, exponent = numbers
            legal = -1024 <= base <= 1024 and 0 <= exponent <= 16
        if not legal:
            return self._opaque(node)
        try:
            found = function(*numbers)
        except (ArithmeticError, TypeError, ValueError):
            return self._opaque(node)
        return found if abs(found) < LARGEST else self._opaque(node)

    def _opaque(self, node: ast.expr) -> Opaque:
        shape = self._made_shape(node) if isinstance(node, ast.Call) else None
        return Opaque(_short(ast.get_source_segment(self.text, node) or "..."), shape)

    def _made_shape(self, node: ast.Call) -> tuple[int, ...] | None:
        """The shape in ones(2, 3), zeros((2, 3)) and such."""
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        if name not in MAKERS:
            return None
        values = [self._value(entry) for entry in node.args]
        for choice in (values, *([value] for value in values)):
            entries = choice[0] if len(choice) == 1 and is_tuple(choice[0]) else choice
            counts = [
                entry for entry in entries if isinstance(entry, int) and not isinstance(entry, bool)
            ]
            if len(counts) == len(entries) > (name == "normal"):  # normal(4) has a mean of 4
                return tuple(counts)
        return None

    def _refuse_other(self, node: ast.AST | None) -> NoReturn:
        message = f"`call` is no single call at {self._where(node)}; expected one such as {EXAMPLE}"
        raise ValueError(message)

    def _refuse_star(self, node: ast.expr) -> NoReturn:
        place = self._where(node)
        message = (
            f"`call` has a * at {place}, which names arguments that are not in the text; write "
            "them out"
        )
        raise ValueError(message)

    def _where(self, node: ast.AST | None) -> str:
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        # `ast` counts bytes; people count characters.
        lines = self.text.splitlines() or [""]
        before = lines[min(line, len(lines)) - 1].encode()[:offset]
        return self._place(line, len(before.decode(errors="ignore")) + 1)

    def _place(self, line: int, column: int) -> str:
        return f"column {column}" if "\n" not in self.text else f"line {line}, column {column}"


def _name(node: ast.expr) -> str | None:
    """A dotted name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
