"""Move it: a local page with sliders over `backstride.explain`.

It is served on the loopback interface only.
"""

from backstride.explore.server import application, check, listen, serve

__all__ = ["application", "check", "listen", "serve"]
