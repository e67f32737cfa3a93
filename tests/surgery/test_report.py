from __future__ import annotations

from dataclasses import replace

from backstride.surgery import Output, Refusal, Report, Rewrite
from backstride.surgery.model.fields import fields
from backstride.surgery.rewriting.rewrite import rewrite
from surgery.graphs import Chain


def report() -> Report:
    chain = (
        Chain(1, 6, 5)
        .slide("conv", "conv", 3, 1, channels=2)
        .node("f", "reshape", 24)
        .node("fc", "dense", 4)
    )
    found = rewrite(chain.graph())
    (rows, columns) = fields(found.graph)["fc"]
    output = Output(
        "fc",
        (1, 1),
        (rows.size, columns.size),
        (rows.stride, columns.stride),
        (rows.offset, columns.offset),
    )
    return Report(
        model="Tiny<b>",
        framework="PyTorch",
        input_shape=(1, 6, 5),
        rewrites=found.rewrites,
        kept=1,
        padded=(),
        outputs=(output,),
        graph=found.graph,
        refusals=(Refusal("tap at relu", "its stride 3 does not divide 4"),),
    )


def test_the_text() -> None:
    assert str(report()).splitlines() == [
        "Tiny<b> (PyTorch, 1x6x5): 2 rewrites, 1 layers kept",
        "",
        "Rewrites",
        "  layer  becomes          why it is the same function",
        "  f      nothing          the network keeps the map that this flattens",
        "  fc     convolution 4x3  its kernel is the flattened 4 x 3 map, read C, h, w",
        "",
        "Outputs",
        "  output  cells at native size  receptive field  stride  offset",
        "  fc      1                     6 x 5            1       5/2 x 2",
        "",
        "Left out",
        "  layer        reason",
        "  tap at relu  its stride 3 does not divide 4",
        "",
        "On a larger image every cell equals the classifier on its crop: no padding meets them.",
    ]


def test_padded_layers_are_named() -> None:
    padded = replace(report(), padded=("a", "b", "c", "d", "e"))
    assert str(padded).splitlines()[-1] == (
        "On a larger image cells differ from the classifier on their crops, which have padding at "
        "their borders where the image has pixels: a, b, c and 2 more."
    )


def test_html_is_escaped_and_complete() -> None:
    page = report().to_html()
    assert page.startswith('<section class="backstride-report"><p>Tiny&lt;b&gt; (PyTorch, 1x6x5)')
    assert page.endswith("</section>")
    assert "<b>" not in page
    assert page.count("<table>") == page.count("</table>") == 3
    assert page.count("<tr>") == page.count("</tr>") == 3 + 2 + 1 + 1


def test_a_report_holds_data_only() -> None:
    found = report()
    assert found == report()
    assert found.rewrites[0] == Rewrite(
        "f", "flattening", "nothing", "the network keeps the map that this flattens"
    )
    assert hash(found.rewrites) == hash(report().rewrites)
