"""A report and its proof as one HTML page that needs no other file."""

from __future__ import annotations

from html import escape

from backstride.surgery.proving.proof import Proof
from backstride.surgery.proving.report import Report

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #1d2433; }
h1 { font-size: 1.6rem; } h2, h3 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .3rem .8rem .3rem 0; vertical-align: top; }
th { font-weight: 600; color: #5b6477; } tbody tr { border-top: 1px solid #e3e7ef; }
.cells td { width: .9rem; height: .9rem; padding: 0; border: 1px solid #fff; }
.cells tr { border: 0; } .must { background: #2e9e5b; } .fails { background: #d33c3c; }
.equal { background: #7da7f0; } .other { background: #d8dde7; }
.legend span { display: inline-block; width: .9rem; height: .9rem; margin: 0 .3rem 0 1rem; }
"""  # noqa: E501
LEGEND = """<p class="legend"><span class="must"></span>must be equal, and is<span class="fails"></span>must be,
and is not<span class="equal"></span>is equal<span class="other"></span>differs, as it may</p>"""  # noqa: E501


def page(report: Report, *proofs: Proof) -> str:
    """The whole page.

    The parts are `Report.to_html` and the `Proof.to_html` of each proof; all names are escaped.

    Args:
        report: What was done.
        proofs: What was compared, one for each result.

    Returns:
        HTML that needs no other file.
    """
    title = escape(f"{report.model}, transposed")
    proved = "".join(f"<h2>Proof</h2>{proof.to_html()}{LEGEND}" for proof in proofs)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><meta '
        'name="viewport" content="width=device-width, '
        f'initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>{report.to_html()}{proved}</body></html>\n"
    )
