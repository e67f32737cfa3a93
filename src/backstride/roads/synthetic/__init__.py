"""Driving scenes rendered from a seed, with exact masks and a known camera."""

from backstride.roads.synthetic.dataset import SyntheticDataset, write
from backstride.roads.synthetic.scene import Scene, scene

__all__ = ["Scene", "SyntheticDataset", "scene", "write"]
