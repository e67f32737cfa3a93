"""Branches of different sizes in PyTorch: every cell is exact at every size, and exports keep the
sizes open.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="these are PyTorch models")

import torch
from torch import Tensor, nn

from backstride.surgery import convolutionalize, prove, transpose


class Uneven(nn.Module):
    """Every second cell beside means of pairs, and a sum of two such branches; channels last for
    one of them.
    """

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.last = last
        self.one, self.two = nn.Conv2d(2, 3, 1, 2), nn.Conv2d(2, 2, 2, 2)
        self.third, self.head = nn.Conv2d(5, 5, 1, 3), nn.Linear(5 * 2 * 2, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.one(x), self.two(x)
        if self.last:
            joined = torch.cat([first.permute(0, 2, 3, 1), second.permute(0, 2, 3, 1)], -1).permute(
                0, 3, 1, 2
            )
        else:
            joined = torch.cat([first, second], dim=1)
        joined = self.third(joined) + nn.functional.avg_pool2d(joined, 3)
        return self.head(joined.flatten(1))


@pytest.mark.parametrize("last", [False, True])
def test_every_cell_equals_the_classifier_on_its_crop_at_every_size(last: bool) -> None:
    model = Uneven(last=last).double().eval()
    network, report = convolutionalize(model, (2, 12, 12))
    assert [entry.rule for entry in report.rewrites].count("branches of different sizes") == 2
    for rows, columns in product(range(12, 20), (13, 17, 18)):
        proof = prove(
            model, network, report, np.random.default_rng(rows).normal(size=(2, rows, columns))
        )
        assert proof.holds
        assert proof.expected.all()
        assert proof.deviation.shape == ((rows - 12) // 6 + 1, (columns - 12) // 6 + 1)


@pytest.mark.parametrize("dense", ["valid", "shift_and_stitch"])
def test_other_cells_too(dense: Any) -> None:
    model = Uneven(last=False).double().eval()
    network, report = convolutionalize(model, (2, 12, 12), dense=dense)
    proof = prove(model, network, report, np.random.default_rng(0).normal(size=(2, 19, 17)))
    assert proof.holds
    assert proof.expected.all()


def test_a_decoder_labels_every_size() -> None:
    network, _ = transpose(Uneven(last=False).eval(), (2, 12, 12))
    with torch.no_grad():
        for extra in range(13):
            assert network(torch.zeros(1, 2, 12 + extra, 25 - extra)).shape == (
                1,
                4,
                12 + extra,
                25 - extra,
            )


def test_an_export_keeps_the_sizes_open() -> None:
    network, _ = convolutionalize(Uneven(last=False).eval(), (2, 12, 12))
    sizes = {
        2: torch.export.Dim("rows", min=18, max=99),
        3: torch.export.Dim("columns", min=18, max=99),
    }
    exported: Any = torch.export.export(
        network, (torch.zeros(1, 2, 25, 31),), dynamic_shapes=(sizes,)
    )
    for shape in ((18, 18), (19, 23), (40, 27)):
        image = torch.randn(1, 2, *shape)
        torch.testing.assert_close(exported.module()(image), network(image))
