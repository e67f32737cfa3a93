"""Batch norms taken into the convolutions before them.

Fewer passes over memory, the same function in evaluation.
"""

from __future__ import annotations

import copy

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from backstride.torch import restore


def folded(module: nn.Module) -> nn.Module:
    """A copy in evaluation with each batch norm in the convolution that alone feeds it.

    All its layers are PyTorch's own again. Ioffe & Szegedy, arXiv 1502.03167, section 3.1.
    """
    made = restore(copy.deepcopy(module)).eval()
    for part in made.modules():
        if isinstance(part, fx.GraphModule):
            _fold(part)
    return made


def _fold(network: fx.GraphModule) -> None:
    for norm in list(network.graph.nodes):
        source = norm.args[0] if norm.args else None
        if not isinstance(source, fx.Node) or not _alone(network, source, norm):
            continue
        convolution, batch_norm = (
            network.get_submodule(str(source.target)),
            network.get_submodule(str(norm.target)),
        )
        if type(convolution) is not nn.Conv2d or type(batch_norm) is not nn.BatchNorm2d:
            continue
        if batch_norm.running_mean is None or "forward" in vars(convolution):
            continue
        network.set_submodule(str(source.target), fuse_conv_bn_eval(convolution, batch_norm))
        norm.replace_all_uses_with(source)
        network.graph.erase_node(norm)
    network.delete_all_unused_submodules()
    _ = network.recompile()


def _alone(network: fx.GraphModule, source: fx.Node, norm: fx.Node) -> bool:
    """Whether both are modules called only here, and the norm alone reads the source."""
    if source.op != "call_module" or norm.op != "call_module" or len(source.users) != 1:
        return False
    return (
        sum(
            node.op == "call_module" and node.target in (source.target, norm.target)
            for node in network.graph.nodes
        )
        == 2
    )
