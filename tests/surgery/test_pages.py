"""Reports and proofs as pages and for terminals; speed; the table of architectures.
No framework takes part.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console, RenderableType

from backstride.cli.reports import shown_proof, shown_report
from backstride.surgery import Proof, Refusal, RefusedError, page
from backstride.surgery.proving.proof import compare
from backstride.surgery.proving.speed import measure_speed
from backstride.surgery.rewriting.gates import gate_pools
from backstride.surgery.rewriting.rewrite import rewrite
from backstride.survey import Entry, Row, measure, to_markdown
from surgery.graphs import Chain
from surgery.test_report import report

Images = NDArray[Any]
GRAPH = rewrite(
    Chain(1, 6, 5)
    .slide("conv", "conv", 3, 1, channels=1)
    .node("f", "reshape", 12)
    .node("fc", "dense", 1)
    .graph()
).graph


def network(images: Images) -> Images:
    windows = np.lib.stride_tricks.sliding_window_view(images, (6, 5), axis=(2, 3))
    return windows.sum((1, -1, -2))[:, None]


def classifier(images: Images) -> Images:
    return images.sum((1, 2, 3))[:, None]


def proved() -> Proof:
    image = np.random.default_rng(0).normal(size=(1, 9, 8))
    return replace(
        compare(classifier, network, GRAPH, image),
        speed=measure_speed(classifier, network, GRAPH, image, rounds=2),
    )


def test_speed_counts_every_crop_and_the_image_once() -> None:
    calls: list[tuple[str, tuple[int, ...]]] = []

    def window(images: Images) -> Images:
        calls.append(("window", images.shape))
        return classifier(images)

    def whole(images: Images) -> Images:
        calls.append(("whole", images.shape))
        return network(images)

    speed = measure_speed(window, whole, GRAPH, np.zeros((1, 9, 8)), batch=10)
    assert calls == [("window", (10, 1, 6, 5)), ("window", (6, 1, 6, 5)), ("whole", (1, 1, 9, 8))]
    assert (speed.size, speed.crops) == ((9, 8), 16)
    assert speed.ratio == speed.window / speed.network > 0
    assert str(speed).startswith("On an image of 9 x 8 the network takes ")


def test_the_page_stands_alone_and_is_escaped() -> None:
    shown = page(report(), proved())
    assert shown.startswith("<!doctype html>")
    assert shown.endswith("</html>\n")
    assert "<h1>Tiny&lt;b&gt;, transposed</h1>" in shown
    assert "<b>" not in shown
    assert "src=" not in shown
    assert "href=" not in shown
    assert shown.count('<td class="must"') == 16
    assert "times as long." in shown
    assert "Proof" not in page(report())


def printed(what: RenderableType) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(what)
        return console.export_text()


def test_a_terminal_shows_the_tables_and_the_map() -> None:
    shown = printed(shown_report(report()))
    assert "Tiny<b> (PyTorch, 1x6x5): 2 rewrites" in shown
    assert "convolution 4x3" in shown
    assert "tap at relu" in shown
    cells = printed(shown_proof(proved()))
    assert cells.count("■ ") == 16
    assert "must be equal" in cells


def test_gates_are_the_poolings_that_meet_a_map() -> None:
    chain = (
        Chain(3, 6, 6).slide("c", "conv", 3, channels=4).node("pool", "mean", 4, 1, 1, axes=(2, 3))
    )
    _ = chain.slide("mix", "conv", 1).node("product", "combine", 4, 4, 4, inputs=("c", "mix"))
    graph = chain.node("head", "mean", 4, axes=(2, 3)).graph()
    assert gate_pools(graph) == {"pool"}
    assert "squeeze and excitation" in str(rewrite(graph).refusals[0])
    local = rewrite(graph, se="local")
    assert not local.refusals
    assert [node.kind for node in local.replaced["pool"]] == ["avg_pool", "avg_pool", "edge_pad"]
    assert [node.kind for node in rewrite(graph, se="global").replaced["pool"]] == [
        "global_avg_pool"
    ]


def entry(convert: Any) -> Entry:
    return Entry("It | that", "NumPy", "by hand", (1, 6, 5), convert, 'se="local"')


def test_a_row_is_measured() -> None:
    made = replace(report(), graph=GRAPH)
    row = measure(entry(lambda: (classifier, network, made)))
    assert row.holds
    assert row.exact == 1
    assert row.error < 1e-12
    assert row.speed > 0
    assert row.rewrites == 2


def test_a_refusal_is_a_row() -> None:
    def convert() -> Any:
        model = "It"
        raise RefusedError(model, (Refusal("norm", "counts positions | rows"),))

    row = measure(entry(convert))
    assert row.refused == "norm: counts positions | rows"
    last = to_markdown([row]).splitlines()[-1]
    assert last == (
        '| It \\| that, `se="local"` | NumPy | by hand | 1x6x5 | refused: norm: counts positions '
        "\\| rows | | | |"
    )


def test_the_page_of_architectures_has_a_row_each() -> None:
    rows = [Row(entry(None), 3, 1.0, 1e-7, True, 0.5, 12.34)] * 2
    assert to_markdown(rows).splitlines()[-1] == (
        '| It \\| that, `se="local"` | NumPy | by hand | 1x6x5 | 3 | 1.0e-07 | 50% | 12.3 |'
    )
    assert to_markdown(rows).count("1x6x5") == 2


@pytest.mark.parametrize("holds", [True, False])
def test_a_row_that_fails_says_so(holds: bool) -> None:
    last = to_markdown([Row(entry(None), 3, 1.0, 1e-7, holds, 0.5, 12.34)]).splitlines()[-1]
    assert ("FAILS" in last) == (not holds)
