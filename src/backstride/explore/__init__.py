"""Move it: a local page with sliders over `backstride.explain`, served on the loopback interface only."""

from backstride.explore.server import application, serve

__all__ = ["application", "serve"]
