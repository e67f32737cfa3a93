"""What accelerated modules run in place of their own `forward` (`classes.py` puts it there)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional

from backstride.torch.acceleration.classes import Swapped
from backstride.torch.acceleration.convolutions import EngineConvolution, in_tiles, is_inference
from backstride.torch.acceleration.discovery import Route
from backstride.torch.acceleration.prepacked import Prepacked
from backstride.torch.acceleration.training import Trained
from backstride.torch.layers import measured
from backstride.torch.layers.measured import (
    is_known_slower,
    parts_are_faster,
    stock_is_faster,
)
from backstride.torch.layers.modules import OnEngine, first_call, repeated_call
from backstride.torch.operator.fusion import (
    Transposed,
    activation_of,
    can_fold,
    folded,
    slope_of,
    sources_of,
    stable_weight,
)
from backstride.torch.operator.graphs import in_graph
from backstride.torch.operator.internals import (
    OUTPUT_PADDING,
    SEQUENTIAL,
    Argument,
    Private,
    is_in_onnx_export,
    is_method,
    is_overridden,
    is_plain,
    runs_only,
    unwatched,
)
from backstride.torch.operator.kernels import engine_supports
from backstride.torch.operator.ways import MeasuredWays

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
FUNCTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


class TransposedLayer(Swapped, OnEngine):
    """A transposed convolution on the engine.

    PyTorch's own where that is faster, exported, or others have a say.
    """

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """PyTorch's and ours take the same."""
        short = output_size is None and not is_compiling()
        result = repeated_call(self, input) if short else None
        return self._looked_up(input, output_size, short=short) if result is None else result

    def _looked_up(
        self, input: Tensor, output_size: Sequence[int] | None, *, short: bool
    ) -> Tensor:
        if output_size is None and is_known_slower(self, input):
            if self._parameters.get("weight") is not None:
                return self.backstride_class.forward(self, input)
            return self.by_stock(input, stable_weight(self), self.bias)
        if _is_pytorchs(self, input):
            forward: Callable[..., Tensor] = super(
                OnEngine, self
            ).forward  # which takes any sequence
            return forward(input, output_size)
        weight, bias = stable_weight(self), self.bias
        if stock_is_faster(self, input, weight, bias, output_size):
            return self.by_stock(input, weight, bias, output_size)
        run = partial(self.by_engine, input, weight, bias, output_size)
        return first_call(self, input, weight, bias, run) if short else run()

    def by_engine(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        """The layer with another weight and bias."""
        if torch.compiler.is_compiling():
            return self.computed(input, weight, bias, None, output_size)
        with MeasuredWays(measured=self.backstride_measured):
            return self.computed(input, weight, bias, None, output_size)

    def by_stock(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        """The same by PyTorch's function, with the sizes that its module finds."""
        rank = len(self.kernel_size)
        sizes = self.stride, self.padding, self.kernel_size
        output_padding: Callable[..., list[int]] = self._output_padding
        extra = output_padding(input, output_size, *sizes, rank, self.dilation)
        return FUNCTIONS[rank](input, weight, bias, *sizes[:2], extra, self.groups, self.dilation)


class Measured(Swapped, Trained):
    """An ordinary convolution on the engine where that is faster."""

    in_inference = True

    def forward(self, input: Tensor) -> Tensor:
        """PyTorch's, but that weight norm is computed once in inference."""
        weight = self._parameters.get("weight")
        return self._conv_forward(
            input, stable_weight(self) if weight is None else weight, self.bias
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not is_compiling() and (result := repeated_call(self, input, weight)) is not None:
            return result
        asked = self.in_inference or torch.is_grad_enabled()
        if asked and stock_is_faster(self, input, weight, bias):
            return self.backstride_class._conv_forward(self, input, weight, bias)
        if is_compiling():
            return self.by_engine(input, weight, bias)
        return first_call(self, input, weight, bias, partial(self.by_engine, input, weight, bias))

    def by_engine(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with another weight and bias."""
        if torch.compiler.is_compiling():
            return super()._conv_forward(input, weight, bias)
        with MeasuredWays(measured=self.backstride_measured):
            return super()._conv_forward(input, weight, bias)

    def by_stock(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The same as PyTorch has it."""
        return type(self).backstride_class._conv_forward(self, input, weight, bias)


class Ordinary(Measured, EngineConvolution):
    """A convolution on the engine, in inference."""


class Large(Measured, Prepacked):
    """A convolution with a large weight whose order is remembered, in inference."""


class Learner(Measured, Trained):
    """A convolution on the engine, in training."""

    in_inference = False


class Stock(Swapped, Trained):
    """PyTorch's convolution, left in the order of its data by compiled graphs, in inference."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if torch.compiler.is_compiling():
            return super()._conv_forward(input, weight, bias)
        return self.backstride_class._conv_forward(self, input, weight, bias)


class Chain(Swapped):
    """A Sequential that joins batch norm and activation with the layer before, in inference."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[nn.Module]: ...

    def forward(self, input: Argument) -> Argument:
        if torch.is_grad_enabled():
            return super().forward(input)
        modules = list(self)
        value, position = input, 0
        while position < len(modules):
            module = modules[position]
            if is_known_slower(module, value, position):
                value, position = module(value), position + 1
            elif _can_be_joined(module, value) and not parts_are_faster(
                module, position, value, partial(_fused, modules), modules
            ):
                value, position = _fused(modules, position, value)
            else:
                value, position = module(value), position + 1
        return value


Joinable = OnEngine | Ordinary  # with a batch norm and an activation behind it


class Routed(Swapped):
    """A module whose own code calls the functions: within it, they are ours."""

    winograd = True  # False stands among the module's own attributes

    def forward(self, *arguments: object, **keywords: object) -> object:
        parent = super()

        def run(on_engine: bool) -> object:
            if not on_engine:
                return parent.forward(*arguments, **keywords)
            with Route(winograd=self.winograd, measured=self.backstride_measured):
                return parent.forward(*arguments, **keywords)

        return measured.routed(self, arguments, run, timed=self.backstride_measured)


def is_chain(module: nn.Module) -> bool:
    """Whether it is a Sequential with Sequential's forward."""
    plain = isinstance(module, nn.Sequential) and not isinstance(module, torch.jit.ScriptModule)
    kind = cast("type[Private]", type(module))
    return plain and kind.forward is SEQUENTIAL and "forward" not in vars(module)


def own_forward(module: nn.Module) -> bool:
    """Whether a transposed convolution's forward is not PyTorch's."""
    kind: type[Private] = type(module)
    inherited = any(kind.forward is cls.forward for cls in TRANSPOSED)
    replaced = not {"forward", "_output_padding"}.isdisjoint(vars(module))
    return replaced or not inherited or kind._output_padding is not OUTPUT_PADDING


def _is_pytorchs(layer: Private, input: Tensor) -> bool:
    exported = torch.compiler.is_exporting() or is_in_onnx_export()
    sizes = is_method(layer._output_padding, OUTPUT_PADDING)
    return exported or not sizes or is_overridden(input, *layer._parameters.values())


def _can_be_joined(layer: nn.Module, input: object) -> TypeGuard[Joinable]:
    """Whether a module is our layer, and its call on this input may be joined with the next."""
    if torch.is_grad_enabled() or not isinstance(input, Tensor) or not _is_joinable(layer):
        return False
    return (
        engine_supports(input)
        and input.dim() == len(layer.kernel_size) + 2
        and (in_graph(input) or (unwatched() and is_plain(input) and not is_overridden(input)))
    )


def _is_joinable(layer: nn.Module) -> TypeGuard[Joinable]:
    return _runs_ordinary(layer) or _runs_ours(layer)


def _runs_ours(layer: Private) -> bool:
    """Whether a call of it is that of a transposed convolution of ours, and nothing else."""
    kind = cast("type[nn.Module]", type(layer))
    if not issubclass(kind, OnEngine) or not is_method(layer._output_padding, OUTPUT_PADDING):
        return False
    return runs_only(
        layer, (TransposedLayer if issubclass(kind, TransposedLayer) else OnEngine).forward
    )


def _runs_ordinary(layer: Private) -> bool:
    """The same for an ordinary convolution."""
    if not is_ordinary(layer):
        return False
    return is_method(layer._conv_forward, Measured.__dict__["_conv_forward"]) and runs_only(
        layer, Measured.forward
    )


def _fused(modules: list[Argument], position: int, input: Tensor) -> tuple[Tensor, int]:
    """The result of a layer and of what follows it, in one call; and where the rest begins."""
    layer: Joinable = modules[position]
    rest = position + 1
    weight, bias = stable_weight(layer), layer.bias
    ordinary = is_ordinary(layer)
    if ordinary and not is_inference(input, weight, bias):
        return modules[position].by_engine(input, weight, bias), rest
    options: dict[str, Argument] = {}
    parameters = weight, bias
    if rest < len(modules) and can_fold(layer, modules[rest], weight):
        norm, graph = modules[rest], in_graph(input)
        if graph and layer.padding_mode == "zeros":
            options["norm"], rest = norm, rest + 1
        elif not graph:
            parameters, rest = folded(sources_of(layer, norm, weight, bias)), rest + 1
    activation = activation_of(modules[rest]) if rest < len(modules) else None
    after = rest + (activation is not None)
    slope = slope_of(modules[after]) if after < len(modules) else None
    if ordinary and _reads_rows(modules[after + (slope is not None) :]):
        options["rows"] = True
    result = layer.computed(input, *parameters, activation, **options)
    if result is None:
        return modules[position].by_engine(input, weight, bias), position + 1
    if slope is not None:  # nobody else has the result yet
        result, after = functional.leaky_relu_(result, slope), after + 1
    return result, after


def _reads_rows(modules: list[Argument]) -> bool:
    """Whether a convolution of one axis, cut into tiles, comes next.

    It reads the channels of a cell together.
    """
    layer: Argument = modules[0] if modules else None
    tiled = (
        is_ordinary(layer)
        and len(layer.kernel_size) == 1
        and layer.padding_mode == "zeros"
        and in_tiles(layer)
    )
    return tiled and _runs_ordinary(layer)


def is_ordinary(layer: object) -> bool:
    """Whether it is an ordinary convolution on the engine in inference."""
    return issubclass(type(layer), Ordinary)


def is_transposed(module: nn.Module) -> TypeGuard[Transposed]:
    """Whether it is one of PyTorch's transposed convolutions, lazy ones included."""
    return isinstance(module, TRANSPOSED)
