from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from backstride.demo.report import Example, Findings, curve, page

_ = pytest.importorskip("PIL", reason="Pillow writes the pictures")


@pytest.fixture(name="findings")
def some_findings() -> Findings:
    picture = np.zeros((4, 4, 3), np.uint8)
    matrix = np.eye(11, dtype=np.int64) * 3
    matrix[0, 1] = 1
    return Findings(
        figures=[("98.7%", "named right")],
        examples=[Example(picture, picture + 1, picture + 2, picture + 3)],
        heats=[picture] * 10,
        losses=[1.0, 0.5, 0.25, 0.125],
        frozen_steps=1,
        matrix=matrix,
        summary=["1 < 2 & so on"],
        article=[0.5] * 16,
        proof="<p>all equal</p>",
        surgery="<p>one rewrite</p>",
    )


class Balance(HTMLParser):
    """Collects tags that are closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_is_self_contained(findings: Findings) -> None:
    text = page(findings)
    assert not re.search(
        r"https?:|//|@import|url\(|<link|<script|<iframe", text.replace("<!doctype", "")
    )
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 4 + 10
    for source in sources:
        head, _, data = source.partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")


def test_is_well_formed(findings: Findings) -> None:
    parser = Balance()
    parser.feed(page(findings))
    assert (parser.open, parser.wrong) == ([], [])


def test_escapes_words(findings: Findings) -> None:
    assert "<p>1 &lt; 2 &amp; so on</p>" in page(findings)


def test_follows_the_readers_light_and_fits_phones(findings: Findings) -> None:
    text = page(findings)
    assert "prefers-color-scheme: dark" in text
    assert "color-scheme: light dark" in text
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in text


def test_table_shows_unions_and_shares(findings: Findings) -> None:
    text = page(findings)
    assert "<td><b>0.750</b></td><td>75.0</td><td>25.0</td>" in text
    assert f"<td><b>{(0.75 + 0.75 + 9) / 11:.3f}</b></td>" in text


def test_curve_falls_from_the_left() -> None:
    found = re.search(r'points="([^"]*)"', curve([1.0, 0.1, 0.01], 1))
    assert found is not None
    points = [tuple(map(float, pair.split(","))) for pair in found[1].split()]
    assert len(points) == 3
    assert points == sorted(points), "to the right, and downwards, where y grows"


def test_curve_of_equal_losses_can_be_drawn() -> None:
    assert "nan" not in curve([1.0, 1.0], 1)
