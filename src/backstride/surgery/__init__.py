"""Transpose a CNN.

A classifier becomes a network that labels every place, with a report and a proof.
"""

from backstride.surgery.api import convolutionalize, prove, receptive_field, transpose
from backstride.surgery.file import convert_file
from backstride.surgery.model.heads import Head
from backstride.surgery.model.values import Refusal, RefusedError, Rewrite
from backstride.surgery.proving.page import page
from backstride.surgery.proving.proof import Proof
from backstride.surgery.proving.report import Output, Report
from backstride.surgery.proving.speed import Speed
from backstride.surgery.torch.weights import load_weights, save_weights

__all__ = [
    "Head",
    "Output",
    "Proof",
    "Refusal",
    "RefusedError",
    "Report",
    "Rewrite",
    "Speed",
    "convert_file",
    "convolutionalize",
    "load_weights",
    "page",
    "prove",
    "receptive_field",
    "save_weights",
    "transpose",
]
