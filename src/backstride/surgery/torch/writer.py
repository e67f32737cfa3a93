"""A rewritten graph becomes a PyTorch module.

The classifier's layers copied, dense ones as convolutions. The network owns its weights: kept
layers are deep copies (what they share stays shared), and a convolution made from a dense layer
holds the same numbers in its own memory. Layers keep their names, training flags, dtype and device.
Longer than other files: one method for each kind of rewritten step.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import fx, nn
from torch.fx.node import Argument

from backstride.geometry import Pair
from backstride.surgery.model.graph import Node, Window
from backstride.surgery.model.values import Refusal, RefusedError, Rewriting
from backstride.surgery.rewriting.rules_pooling import REDUCTIONS
from backstride.surgery.torch.arguments import named
from backstride.surgery.torch.functions import CHANNELWISE, REDUCING, RESIZING, called, is_plain
from backstride.surgery.torch.heads import packs
from backstride.surgery.torch.layers import (
    binned,
    convolution,
    copied,
    cut_to_smallest,
    dense_map,
    dilated_mean,
    layers_of,
    norm_over_map,
    take_order_and_flags,
    with_classes,
    with_masks,
    with_weight_norm,
)
from backstride.surgery.torch.modules import TRANSPOSED, normed_rows, stored_pieces
from backstride.surgery.torch.norms import LocalNorm, local_norm
from backstride.surgery.torch.numbers import with_native_numbers
from backstride.surgery.torch.reader import TorchReading, dropout_module
from backstride.surgery.torch.steps import POOLS, WeightlessCall, weightless


class TorchWriter:
    """Writes one network."""

    def __init__(self, reading: TorchReading, rewriting: Rewriting) -> None:
        self._reading = reading
        self._rewriting = rewriting
        self._memo: dict[int, object] = {}
        # what the network holds, by the names that it has in the classifier
        self._root: dict[str, nn.Module | torch.Tensor] = {}
        self._made: dict[
            str, object
        ] = {}  # the windows of new layers, by the names of those that they stand for
        self._graph = fx.Graph()
        self._written: dict[str, fx.Node] = {}

    def write(self, outputs: tuple[str, ...] | None = None) -> fx.GraphModule:
        """The network; with `outputs`, one that gives a tuple of these nodes' values."""
        for node in self._reading.traced.nodes:
            if node.op == "output":
                chosen = tuple(self._written[name] for name in outputs or ())
                _ = self._graph.output(self._results(node) if outputs is None else chosen)
            elif node.name in self._rewriting.replaced:
                self._written[node.name] = self._replace(node)
            elif all(source.name in self._written for source in node.all_input_nodes) and not packs(
                node
            ):
                self._keep(node, self._reading.graph[node.name])
        network = fx.GraphModule(self._root, self._graph, self._reading.name)
        _ = network.graph.eliminate_dead_code()
        _ = network.recompile()
        network.delete_all_unused_submodules()
        take_order_and_flags(network, self._reading.model)
        return network

    def module_name(self, name: str) -> str:
        """The name of the layer that the network calls for the classifier's node."""
        return str(self._written[name].target)

    def is_log_softmax(self, name: str) -> bool:
        """Whether the softmax of this name gives logarithms."""
        node = next(node for node in self._reading.traced.nodes if node.name == name)
        layer = self._module(node)
        return called(node) == "log_softmax" if layer is None else isinstance(layer, nn.LogSoftmax)

    def _results(self, node: fx.Node) -> Argument:
        """What the classifier returns, less the cells that are left out."""
        crops = dict(
            zip(self._reading.graph[node.name].inputs, self._rewriting.crops, strict=False)
        )

        def result(source: fx.Node) -> fx.Node:
            if not packs(source):
                return self._crop(self._find(source), crops.get(source.name, ()))
            args, kwargs = fx.map_arg((source.args, source.kwargs), result)
            return self._graph.create_node("call_function", source.target, args, kwargs)

        return fx.map_arg(node.args[0], result)

    def _crop(self, maps: fx.Node, cells: Sequence[Pair]) -> fx.Node:
        if not any(map(any, cells)):
            return maps
        index = tuple(slice(before, -after or None) for before, after in cells)
        return self._graph.call_function(
            operator.getitem, (maps, (slice(None), slice(None), *index))
        )

    def _trimmed(self, node: fx.Node) -> Callable[[fx.Node], fx.Node]:
        """The sources of a node, cut to equal sizes where image or stride made them differ."""
        plain = self._reading.graph[node.name]
        fits, trims = self._rewriting.fitted(plain), self._rewriting.trimmed(plain)
        if trims:
            return lambda source: self._crop(self._find(source), trims.get(source.name, ()))
        if not fits:
            return self._find
        first = 1 if self._rewriting.values[node.name].form == "map_last" else -2
        meeting = [source for source in node.all_input_nodes if source.name in fits]
        cut = self._graph.call_function(cut_to_smallest, (first, *map(self._find, meeting)))
        parts = {
            source: self._graph.call_function(operator.getitem, (cut, place))
            for place, source in enumerate(meeting)
        }
        return lambda source: parts.get(source) or self._find(source)

    def _find(self, node: fx.Node) -> fx.Node:
        return self._written[node.name]

    def _keep(self, node: fx.Node, plain: Node) -> None:
        find = trimmed = self._trimmed(node)
        match node.op:
            case "placeholder" if plain.kind != "input":
                return  # an optional argument, which stays at its default
            case "call_module":
                self._hold(node)
            case "get_attr":
                target = str(node.target)
                self._root[target] = copied(self._reading.stored[target], self._memo)
            case _ if node.name in self._reading.switched:
                name = self._free_name(node.name)
                self._root[name] = dropout_module(node)
                self._written[node.name] = self._graph.call_module(
                    name, (find(node.all_input_nodes[0]),)
                )
                return
            case _:
                if plain.kind not in ("expand", "reshape") and isinstance(
                    self._reading.results[node], torch.Tensor
                ):
                    find = with_native_numbers(self._reading, trimmed, self._graph)
                if called(node) in ("max", "min") and isinstance(
                    self._reading.results[node], tuple
                ):
                    both = self._graph.node_copy(node, find)  # the largest and its place
                    self._written[node.name] = self._graph.call_function(
                        operator.getitem, (both, 0)
                    )
                    return
        self._written[node.name] = self._graph.node_copy(node, find)

    def _dilated(self, node: fx.Node, window: Window, fed: fx.Node) -> fx.Node:
        """A convolution of the classifier in its atrous form."""
        if node.op == "call_module":
            self._hold(node)
            layer = self._root[str(node.target)]
            assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
            layer.stride, layer.dilation = window.strides, window.dilation
            return self._graph.call_module(str(node.target), (fed,))
        given = named(node, "input weight bias stride padding dilation groups")
        kept = {
            name: fx.map_arg(given[name], self._find)
            for name in ("weight", "bias", "groups")
            if name in given
        }
        return self._graph.call_function(F.conv2d, (fed,), {**kept, "dilation": window.dilation})

    def _slide(self, kind: str, window: Window, fed: fx.Node) -> fx.Node:
        """A pooling by its window."""
        if kind == "avg_pool" and set(window.dilation) != {1}:
            return self._graph.call_function(dilated_mean, (fed, window.kernel, window.dilation))
        options: dict[str, Argument] = (
            {"dilation": window.dilation} if set(window.dilation) != {1} else {}
        )
        return self._graph.call_function(POOLS[kind], (fed, window.kernel, window.strides), options)

    def _hold(self, node: fx.Node) -> None:
        """Copy the layer that a node calls, with other classes where they are asked for."""
        target = str(node.target)
        layer = self._reading.model.get_submodule(target)
        if node.name in self._rewriting.classes:
            assert isinstance(layer, nn.Conv2d)
            self._root[target] = with_classes(layer, self._rewriting.classes[node.name])
        elif target not in self._root:
            self._root[target] = copied(layer, self._memo)

    def _found_or_native(self, node: fx.Node) -> Argument:
        """Window sizes that were computed from the image's size stay those of the native size."""
        value = self._reading.results[node]
        return self._find(node) if isinstance(value, torch.Tensor) else value

    def _replace(self, node: fx.Node) -> fx.Node:
        find = self._trimmed(node) if self._rewriting.replaced[node.name] else self._find
        sources = [
            find(source) for source in node.all_input_nodes if source.name in self._rewriting.values
        ]
        for step in self._rewriting.replaced[node.name]:
            sources = [self._step(node, step, sources, find)]
        return sources[0]

    def _step(  # noqa: PLR0911  one return for each kind
        self,
        node: fx.Node,
        step: Node,
        sources: Sequence[fx.Node],
        find: Callable[[fx.Node], fx.Node],
    ) -> fx.Node:
        if step.kind == "conv" and self._reading.graph[node.name].kind == "conv":
            return self._dilated(node, step.sliding, sources[0])
        if step.kind in ("conv", "batch_norm", "layer_norm"):
            return self._layer(node, step, sources[0])
        if step.kind == "local_norm":
            return self._local_norm(node, step, sources[0])
        if step.kind == "combine":
            native = with_native_numbers(self._reading, find, self._graph)
            return self._graph.node_copy(node, lambda source: self._over_cells(source, native))
        if step.kind in (*REDUCTIONS, "channelwise"):
            return self._over_channels(node, step, sources[0])
        if step.kind in ("avg_pool", "max_pool"):
            return self._slide(step.kind, step.sliding, sources[0])
        if step.kind == "conv_transpose" and isinstance(self._module(node), TRANSPOSED):
            return self._grown(node, step, sources[0])
        call, args, options = self._call(node, step)
        data: Argument = list(sources) if step.kind == "concat" else sources[0]
        if isinstance(call, str):
            return self._graph.call_method(call, (data, *args), options)
        return self._graph.call_function(call, (data, *args), options)

    def _call(self, node: fx.Node, step: Node) -> WeightlessCall:
        match step.kind:
            case "softmax":
                return (
                    F.log_softmax if self.is_log_softmax(node.name) else F.softmax,
                    (),
                    {"dim": 1},
                )
            case "avg_bins" | "max_bins":
                window = step.sliding
                return (
                    binned,
                    (window.kernel, step.factors[1:], window.dilation, step.kind == "max_bins"),
                    {},
                )
            case "conv_transpose":
                return F.interpolate, (), self._resized(node, step)
            case _:
                return weightless(step)

    def _grown(self, node: fx.Node, step: Node, fed: fx.Node) -> fx.Node:
        """A transposed convolution with the `output_padding` that its stated size means."""
        calls = [
            other
            for other in self._reading.traced.nodes
            if (other.op, other.target) == (node.op, node.target)
        ]
        windows = [self._reading.graph[other.name].window for other in calls]
        if any(window is None or window.padding != step.sliding.padding for window in windows):
            reason = (
                "is called with sizes that mean different `output_padding`; give each call a layer "
                "of its own"
            )
            raise RefusedError(self._reading.name, (Refusal(step.label, reason),))
        self._hold(node)
        layer = self._root[str(node.target)]
        assert isinstance(layer, TRANSPOSED)
        layer.output_padding = tuple(before - after for before, after in step.sliding.padding)
        return self._graph.call_module(str(node.target), (fed,))

    def _resized(self, node: fx.Node, step: Node) -> dict[str, Argument]:
        """How a map grows by a factor that the classifier states as a size."""
        layer = self._module(node)
        mode = (
            layer.mode
            if isinstance(layer, nn.Upsample)
            else named(node, RESIZING).get("mode") or "nearest"
        )
        return {"scale_factor": tuple(map(float, step.sliding.strides)), "mode": mode}

    def _local_norm(self, node: fx.Node, step: Node, fed: fx.Node) -> fx.Node:
        """Instance and group normalisation by the window around each cell."""
        layer = self._module(node)
        if layer is not None:
            assert isinstance(layer, nn.GroupNorm | nn.InstanceNorm2d)
            target = str(node.target)
            if self._made.setdefault(target, step.sliding.kernel) != step.sliding.kernel:
                reason = "is called on maps of different sizes, of which each has its own window"
                raise RefusedError(self._reading.name, (Refusal(step.label, reason),))
            _ = self._root.setdefault(target, LocalNorm(layer, step.sliding.kernel))
            return self._graph.call_module(target, (fed,))
        names = "input groups weight bias eps"
        if called(node) == "instance_norm":
            names = "input mean variance weight bias use_input_stats momentum eps"
        given = named(node, names)
        weights = fx.map_arg((given.get("weight"), given.get("bias")), self._find)
        options = (step.sliding.kernel, *step.factors, *weights, given.get("eps", 1e-5))
        return self._graph.call_function(local_norm, (fed, *options))

    def _over_cells(self, source: fx.Node, find: Callable[[fx.Node], Argument]) -> Argument:
        """A source of a sum or product of vectors.

        Weights of the features become those of a map's channels.
        """
        weights = self._reading.results[source]
        if (
            source.name in self._rewriting.values
            or not isinstance(weights, torch.Tensor)
            or weights.numel() < 2
        ):
            return find(source)
        return self._graph.call_method("reshape", (self._find(source), (-1, 1, 1)))

    def _over_channels(self, node: fx.Node, step: Node, fed: fx.Node) -> fx.Node:
        """A reduction or normalisation over a cell's channels, which a reduction keeps as one."""
        if node.op == "call_module":
            return self._graph.call_function(F.glu, (fed, 1))
        reduces, name = step.kind != "channelwise", called(node)
        names = REDUCING[name] if reduces else CHANNELWISE[name][0]
        kept = {
            key: value for key, value in named(node, names).items() if key not in ("input", "axis")
        }
        options = fx.map_arg(
            {**kept, "dim": 1, **({"keepdim": True} if reduces else {})}, self._found_or_native
        )
        made = self._graph.create_node(node.op, node.target, (fed,), options)
        return (
            self._graph.call_function(operator.getitem, (made, 0))
            if name in ("max", "min")
            else made
        )

    def _layer(self, node: fx.Node, step: Node, fed: fx.Node) -> fx.Node:
        if node.op != "call_module":
            if step.kind != "conv":
                return self._normalise(node, step, fed)
            if not is_plain(node):
                return self._computed(node, step, fed)
        elif step.kind == "layer_norm" and not isinstance(self._module(node), nn.LayerNorm):
            self._hold(node)
            moved = self._graph.call_method("movedim", (fed, 1, -1))
            return self._graph.call_method(
                "movedim", (self._graph.call_module(str(node.target), (moved,)), -1, 1)
            )
        return self._graph.call_module(self._new_layer(node, step), (fed,))

    def _normalise(self, node: fx.Node, step: Node, fed: fx.Node) -> fx.Node:
        """A functional normalisation of vectors, on the channels of a map."""
        last = step.kind == "layer_norm"
        moved = self._graph.call_method("movedim", (fed, 1, -1)) if last else fed
        data = node.all_input_nodes[0]
        made = self._graph.node_copy(
            node, lambda source: moved if source is data else self._find(source)
        )
        return self._graph.call_method("movedim", (made, -1, 1)) if last else made

    def _new_layer(self, node: fx.Node, step: Node) -> str:
        """The name of the layer that stands for the node's; one that is called twice stays one."""
        target = str(node.target) if node.op == "call_module" else self._free_name(node.name)
        if target not in self._made:
            self._made[target] = step.window
            self._root[target] = self._over_map(node, step)
        return target

    def _over_map(self, node: fx.Node, step: Node) -> nn.Module:
        """A dense layer or a normalisation of vectors, as a layer of maps."""
        layer = self._module(node)
        if step.kind != "conv":
            assert layer is not None
            return norm_over_map(layer)
        if isinstance(layer, nn.Linear):
            made = convolution(*stored_pieces(layer), step)
            made = with_masks(made, layer, step)
            rows = normed_rows(layer)
            if rows is not None:
                made = with_weight_norm(made, *rows, step)
        else:
            made = convolution(*self._stored(node), step)
        classes = self._rewriting.classes.get(node.name)
        return made if classes is None else with_classes(made, classes)

    def _stored(self, node: fx.Node) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias of a functional dense layer."""
        given, stored = named(node, "input weight bias"), self._reading.stored
        weight, bias = given["weight"], given.get("bias")
        assert isinstance(weight, fx.Node)
        return stored[str(weight.target)], stored[str(bias.target)] if isinstance(
            bias, fx.Node
        ) else None

    def _computed(self, node: fx.Node, step: Node, fed: fx.Node) -> fx.Node:
        """A dense layer whose matrix is computed from weights.

        The convolution computes it in every call.
        """
        product = called(node) != "linear"
        given = named(node, "input weight" if product else "input weight bias")
        weight = next(given[name] for name in ("weight", "other", "mat2") if name in given)
        rows, bias = fx.map_arg((weight, given.get("bias")), self._find)
        if product:
            rows = self._graph.call_method("t", (rows,))
        options = (rows, bias, step.sliding.kernel, step.order, step.sliding.dilation)
        return self._graph.call_function(dense_map, (fed, *options))

    def _module(self, node: fx.Node) -> nn.Module | None:
        return (
            self._reading.model.get_submodule(str(node.target))
            if node.op == "call_module"
            else None
        )

    def _free_name(self, name: str) -> str:
        taken = {
            taken.partition(".")[0] for taken in (*layers_of(self._reading.model), *self._root)
        }
        while name in taken:
            name += "_"
        return name
