"""The main job on real images.

A digit classifier, transposed into a network that labels every pixel of a scene.
"""

from backstride.demo.job import run
from backstride.demo.result import DemoResult, ProofFigures

__all__ = ["DemoResult", "ProofFigures", "run"]
