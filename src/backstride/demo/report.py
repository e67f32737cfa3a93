"""The report page: one file with every picture inside, light or dark as the reader's screen is."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from backstride.demo.metrics import Matrix, intersection_over_union
from backstride.demo.pictures import COLOURS, DARK, Pixels, png

NAMES = (*"0123456789", "background")
CHART = (640, 220, 44)  # width, height, margin

HEATS = (
    "<p>Its scores on the first scene, one class a picture, before any fine-tuning: each cell is "
    "the classifier on the 28 x 28 crop around it.</p>"
)
STYLE = f"""
:root {{ color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0;
  --mark: #2e55d1 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --mark: #30c9ff }}
}}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }}
h1 {{ margin: .5rem 0 0; font-size: 1.7rem }} h2 {{ margin: 2.5rem 0 .5rem; font-size: 1.25rem }}
h3 {{ font-size: 1rem }}
p {{ max-width: 46rem }} .soft, figcaption, th {{ color: var(--soft) }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1rem 0; padding: 0 }}
.figures div {{ display: flex; flex-direction: column-reverse }}
.figures dd {{ margin: 0; font-size: 1.8rem; line-height: 1.2 }} .figures dt {{ color: var(--soft); font-size: .9rem }}
.row {{ display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .6rem; margin: 0 0 1rem }}
.row.five {{ grid-template-columns: repeat(5, minmax(0, 1fr)) }}
@media (max-width: 40rem) {{ .row {{ grid-template-columns: repeat(2, minmax(0, 1fr)) }} }}
figure {{ margin: 0 }} figcaption {{ font-size: .85rem }}
img {{ display: block; width: 100%; image-rendering: pixelated; border-radius: 4px; background: {DARK} }}
.legend {{ display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: .5rem 0 1rem; padding: 0; list-style: none }}
.swatch {{ display: inline-block; width: 1em; height: 1em; margin-right: .35em; border: 1px solid var(--line);
  border-radius: 3px; vertical-align: -.1em }}
.scroll {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }}
th, td {{ padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }}
th {{ font-weight: 500 }} .backstride-report :is(th, td) {{ text-align: left }}
table.cells td {{ width: .8rem; height: .8rem; padding: 0; border: 1px solid var(--paper); background: var(--mark) }}
table.cells td.other {{ background: var(--line) }} table.cells td.fails {{ background: #d1242f }}
svg {{ display: block; width: 100%; max-width: 46rem; height: auto; font: 12px system-ui, sans-serif }}
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Example:
    """One held-out scene in four pictures of one size."""

    scene: Pixels
    coarse: Pixels
    labels: Pixels
    truth: Pixels


@dataclass(frozen=True, slots=True)
class Findings:
    """What the page shows.

    `figures`: (value, words). `proof`, `surgery`: HTML fragments of the surgery's own.
    """

    figures: Sequence[tuple[str, str]]
    examples: Sequence[Example]
    heats: Sequence[Pixels]
    losses: Sequence[float]
    frozen_steps: int
    matrix: Matrix
    summary: Sequence[str]
    article: Sequence[float]
    proof: str
    surgery: str


def page(findings: Findings) -> str:
    """The whole page."""
    parts = (
        "<h1>A digit classifier, transposed</h1>",
        *(f"<p>{escape(line)}</p>" for line in findings.summary),
        _figures(findings.figures),
        "<h2>Scenes of held-out digits</h2>",
        _legend(),
        *(_example(example) for example in findings.examples),
        "<h2>Where the classifier sees each digit</h2>",
        HEATS,
        '<div class="row five">'
        + "".join(_figure(heat, str(digit)) for digit, heat in enumerate(findings.heats)),
        "</div>",
        "<h2>Proof</h2>",
        findings.proof,
        "<h2>Fine-tuning</h2>",
        curve(findings.losses, findings.frozen_steps),
        "<h2>Intersection over union</h2>",
        _table(findings.matrix),
        "<h2>Surgery</h2>",
        f'<div class="scroll">{findings.surgery}</div>',
        "<h2>The article's check</h2>",
        _article(findings.article),
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Backstride: a digit classifier, transposed</title>\n<style>{STYLE}</style>\n"
        "</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    entries = "".join(
        f"<div><dt>{escape(words)}</dt><dd>{escape(value)}</dd></div>" for value, words in figures
    )
    return f'<dl class="figures">{entries}</dl>'


def _legend() -> str:
    return (
        '<ul class="legend">'
        + "".join(f"<li>{_named(entry)}</li>" for entry in range(len(NAMES)))
        + "</ul>"
    )


def _named(entry: int) -> str:
    colour = (*COLOURS, DARK)[entry]
    return f'<span class="swatch" style="background:{colour}"></span>{NAMES[entry]}'


def _example(example: Example) -> str:
    pictures = (
        (example.scene, "scene"),
        (example.coarse, "classifier, coarse"),
        (example.labels, "labels found"),
        (example.truth, "truth"),
    )
    return (
        '<div class="row">'
        + "".join(_figure(picture, words) for picture, words in pictures)
        + "</div>"
    )


def _figure(picture: Pixels, words: str) -> str:
    data = base64.b64encode(png(picture)).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" '
        f'alt="{words}"><figcaption>{words}</figcaption></figure>'
    )


def curve(losses: Sequence[float], frozen: int) -> str:
    """The loss, averaged over stretches of steps, as an SVG drawing with a logarithmic scale."""
    width, height, margin = CHART
    stretch = max(1, len(losses) // 100)
    means = np.array([np.mean(losses[at : at + stretch]) for at in range(0, len(losses), stretch)])
    low, high = np.floor(np.log10(means.min())), np.ceil(np.log10(means.max()))
    high = max(high, low + 1)
    steps = (np.arange(len(means)) + 0.5) * stretch

    def across(step: float) -> float:
        return margin + step / len(losses) * (width - margin - 10)

    def down(loss: float) -> float:
        return 10 + (high - np.log10(loss)) / (high - low) * (height - 10 - margin)

    points = " ".join(
        f"{across(step):.1f},{down(loss):.1f}" for step, loss in zip(steps, means, strict=True)
    )
    levels = [10.0**power for power in range(int(low), int(high) + 1)]
    grid = "".join(
        f'<line x1="{margin}" x2="{width - 10}" y1="{down(level):.1f}" y2="{down(level):.1f}" '
        f'stroke="var(--line)"/><text x="{margin - 6}" y="{down(level) + 4:.1f}" text-anchor="end" '
        f'fill="var(--soft)">{level:g}</text>'
        for level in levels
    )
    phases = [(0, min(frozen, len(losses)), "decoder"), (frozen, len(losses), "whole network")]
    words = "".join(
        f'<text x="{(across(start) + across(end)) / 2:.1f}" y="{height - 24}" text-anchor="middle" '
        f'fill="var(--soft)">{name}, {end - start} steps</text><line x1="{across(start):.1f}" '
        f'x2="{across(start):.1f}" y1="10" y2="{height - 12}" stroke="var(--line)"/>'
        for start, end, name in phases
        if end > start
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="loss by training '
        f'step">{grid}{words}<polyline points="{points}" fill="none" stroke="var(--mark)" '
        'stroke-width="2"/></svg><p class="soft">Cross entropy by training step.</p>'
    )


def _table(matrix: Matrix) -> str:
    """Each class's intersection over union, and how its true pixels were found, in percent."""
    unions = intersection_over_union(matrix)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th>{name}</th>" for name in NAMES)
    rows = "".join(
        f"<tr><th>{_named(entry)}</th><td><b>{unions[entry]:.3f}</b></td>"
        + "".join(f"<td>{share:.1f}</td>" for share in shares[entry])
        + "</tr>"
        for entry in range(len(NAMES))
    )
    return (
        '<div class="scroll"><table><thead><tr><th>truth</th><th>IoU</th>'
        + head
        + f"</tr></thead><tbody>{rows}"
        f"<tr><th>mean</th><td><b>{np.nanmean(unions):.3f}</b></td></tr></tbody></table></div>"
        '<p class="soft">To the right: of each class\'s true pixels, the percentage found as each '
        "class.</p>"
    )


def _article(values: Sequence[float]) -> str:
    rows = "".join(
        "<tr>" + "".join(f"<td>{value:.6g}</td>" for value in values[at : at + 4]) + "</tr>"
        for at in range(0, 16, 4)
    )
    return (
        "<p>A dense layer and a 1x1 convolution give the same values, and so do their transposes, "
        "which print these "
        f'16 numbers.</p><div class="scroll"><table>{rows}</table></div>'
    )
