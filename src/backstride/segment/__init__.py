"""Run a network that labels every pixel on pictures of any size, folders of them and videos."""

from backstride.segment.labels import Found, Labelling
from backstride.segment.run import Segmentation, segment, segment_many

__all__ = ["Found", "Labelling", "Segmentation", "segment", "segment_many"]
