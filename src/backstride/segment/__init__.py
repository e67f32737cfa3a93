"""Run a network that labels every pixel on pictures of any size."""

from backstride.segment.job import Found, Segmentation, segment

__all__ = ["Found", "Segmentation", "segment"]
