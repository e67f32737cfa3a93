"""Which cells must equal the classifier on their crops: where weights are drawn, exactly those that
do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

import torch
from torch import nn

import backstride as bs

PADS: dict[str, Any] = {
    "zeros": nn.ZeroPad2d,
    "circular": nn.CircularPad2d,
    "reflect": nn.ReflectionPad2d,
    "replicate": nn.ReplicationPad2d,
}


class UNet(nn.Module):
    """A skip past a coarser layer."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.first, self.down, self.up, self.head = (
            nn.Conv2d(1, 4, 1),
            nn.Conv2d(4, 4, 2, 2),
            up,
            nn.Linear(256, 3),
        )

    def forward(self, x: Any) -> Any:
        x = self.first(x).relu()
        return self.head((x + self.up(self.down(x).relu())).flatten(1))


class Excited(nn.Module):
    """A gate on a map that has one cell at native size, as in the last blocks of networks for small
    images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(1, 4, 4, 4), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        x = x * self.gate(nn.functional.adaptive_avg_pool2d(x, 1)).sigmoid()
        return self.head(x.mean((2, 3)))


class Both(nn.Module):
    """Two poolings of one map, which weigh nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 4, 4), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        x = self.conv(x)
        pooled = nn.functional.adaptive_avg_pool2d(x, 1) + nn.functional.adaptive_max_pool2d(x, 1)
        return self.head(pooled.flatten(1))


class Cast(nn.Module):
    """Half precision inside."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self.head(x.flatten(1))


def head(cells: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(4 * cells * cells, 3)]


def slid(mode: Any) -> nn.Module:
    """Reads beyond the first row and column alone, since the stride leaves the last out."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1, padding_mode=mode), nn.ReLU(), *head(4))


def framed(mode: str) -> nn.Module:
    """Cells whose taps all lie beyond the border."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 1), PADS[mode](3), nn.Conv2d(4, 4, 3, 5), nn.ReLU(), *head(3)
    )


def functional(mode: str) -> nn.Module:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3, 2), nn.Sequential(*head(4))

        def forward(self, x: Any) -> Any:
            return self.head(self.conv(nn.functional.pad(x, (1, 0, 1, 0), mode=mode)).relu())

    return Padded()


CASES: dict[
    str, tuple[Callable[[], nn.Module], int, int]
] = {  # a model, its native size, its period
    "transposed inside": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 2, 4), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2), nn.ReLU(), *head(4)
        ),
        8,
        4,
    ),
    "U": (lambda: UNet(nn.ConvTranspose2d(4, 4, 2, 2)), 8, 2),
    "nearest": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 2, 2), nn.Upsample(scale_factor=2), nn.Conv2d(4, 4, 3), *head(6)
        ),
        8,
        2,
    ),
    "both poolings": (Both, 4, 4),
    **{
        f"{make.__name__} {mode}": (
            lambda make=make, mode=mode: make(mode),
            8,
            2 if make is not framed else 5,
        )
        for make in (slid, functional, framed)
        for mode in PADS
        if (make, mode) != (functional, "zeros")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_exactly_the_cells_that_must_be_equal_are(name: str) -> None:
    make, native, period = CASES[name]
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
    model = make().eval()
    network, report = bs.convolutionalize(model, (1, native, native))
    image = (
        np.random.default_rng(0)
        .normal(size=(1, native + 3 * period, native + 2 * period + 1))
        .astype(np.float32)
    )
    proof = bs.prove(model, network, report, image)
    assert proof.holds
    assert np.array_equal(proof.expected, proof.exact)
    if not report.padded:
        assert proof.expected.any()
        assert ("every cell" in report.exactness) == bool(
            np.all(proof.expected[~np.isnan(proof.deviation)])
        )


def test_the_reason_is_said_where_no_cell_must_be_equal() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *head(6)).eval()
    network, report = bs.convolutionalize(model, (1, 6, 6))
    proof = bs.prove(model, network, report, np.ones((1, 8, 8), np.float32))
    reason = "all crops have padding at the borders where the image has pixels (0 (Conv2d))"
    assert f"No cell must be equal, because {reason}; largest deviation" in str(proof)


def test_a_gate_of_one_cell_asks_what_it_means() -> None:
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
    model = Excited().eval()
    with pytest.raises(
        ValueError,
        match=r'weighs a map of one cell with one pooled .* state se="global" or se="local"',
    ):
        _ = bs.convolutionalize(model, (1, 4, 4))
    image = torch.randn(1, 1, 12, 16)
    network, _ = bs.convolutionalize(model, (1, 4, 4), se="global")
    cells = model.conv(image)
    weighed = cells * model.gate(cells.mean((2, 3), keepdim=True)).sigmoid()
    assert torch.allclose(
        network(image),
        torch.einsum("oc,nchw->nohw", model.head.weight, weighed) + model.head.bias[:, None, None],
        atol=1e-6,
    )
    network, report = bs.convolutionalize(model, (1, 4, 4), se="local")
    proof = bs.prove(model, network, report, image[0].numpy())
    assert proof.holds
    assert proof.expected.all()


def plus_one(module: nn.Module, given: Any, result: Any) -> Any:
    _ = module, given
    return result + 1


def twice(module: nn.Module, given: Any) -> Any:
    _ = module
    return (given[0] * 2,)


def test_what_a_graph_of_calls_would_lose_is_refused() -> None:
    hooked = nn.Sequential(nn.Conv2d(1, 4, 3), *head(2))
    handle = hooked.register_forward_hook(plus_one)
    with pytest.raises(
        ValueError, match=r"a forward hook of the model: runs around it, .*nn.Sequential\(model\)"
    ):
        _ = bs.convolutionalize(hooked, (1, 4, 4))
    network, _ = bs.convolutionalize(nn.Sequential(hooked), (1, 4, 4))
    image = torch.randn(1, 1, 4, 4)
    assert torch.allclose(network(image)[..., 0, 0], hooked(image), atol=1e-6)
    handle.remove()
    handle = hooked[2].register_forward_pre_hook(twice)
    with pytest.raises(
        ValueError, match=r"2 \(Linear\): has a forward hook, which what replaces it would not have"
    ):
        _ = bs.convolutionalize(hooked, (1, 4, 4))
    handle.remove()
    handle = hooked[0].register_forward_hook(plus_one)
    network, _ = bs.convolutionalize(hooked, (1, 4, 4))
    assert torch.allclose(network(image)[..., 0, 0], hooked(image), atol=1e-6)
    with pytest.raises(
        ValueError, match=r"it computes under torch\.autocast, which a graph of its calls loses"
    ):
        _ = bs.convolutionalize(Cast(), (1, 4, 4))
