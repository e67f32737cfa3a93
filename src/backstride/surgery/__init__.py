"""Transpose a CNN: a classifier becomes a network that labels every place, with a report and a proof."""

from backstride.surgery.api import convolutionalize, prove, transpose
from backstride.surgery.file import convert_file
from backstride.surgery.proof import Proof
from backstride.surgery.report import Output, Report
from backstride.surgery.values import Refusal, RefusedError, Rewrite

__all__ = [
    "Output",
    "Proof",
    "Refusal",
    "RefusedError",
    "Report",
    "Rewrite",
    "convert_file",
    "convolutionalize",
    "prove",
    "transpose",
]
