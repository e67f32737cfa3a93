"""No fault without its story: every reason of the table is told in docs/findings.md."""

from __future__ import annotations

from pathlib import Path

from backstride.conform.faults import FAULTS
from backstride.conform.rows import ROWS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_row_has_its_faults_listed() -> None:
    assert set(FAULTS) == set(ROWS)


def test_every_reason_is_told() -> None:
    told = " ".join((DOCS / "findings.md").read_text(encoding="utf-8").split())
    reasons = {fault.reason for faults in FAULTS.values() for fault in faults}
    assert sorted(reason for reason in reasons if f"**{reason}**" not in told) == []


def test_every_reason_was_met() -> None:
    """A fault that no call meets is an exemption without cause: remove it."""
    met = (DOCS / "conformance.md").read_text(encoding="utf-8")
    lines = {line.split("|")[1].strip(): line for line in met.splitlines() if line.startswith("| ")}
    missing = [
        (name, fault.reason)
        for name, faults in FAULTS.items()
        for fault in faults
        if f"{fault.kind}: {fault.reason}" not in lines[ROWS[name].title]
    ]
    assert missing == []
    assert "unexplained:" not in met
