"""Make the pictures of docs/explain.md.

Two views, and the page of `backstride explore` in a real browser.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import sync_playwright

from backstride.explain import Request, answer
from backstride.explore import application

PICTURES = Path(__file__).parent.parent / "pictures"
X, W = "1 2 3; 4 5 6; 7 8 9", "1 2 1; 2 4 2; 1 2 1"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]


def main() -> None:
    """Write pictures/scatter.svg, gather.svg and explore.png."""
    _ = answer(Request("k=3 s=2 p=same", (3, 3), x=X, w=W), {"svg": PICTURES / "scatter.svg"})
    _ = answer(
        Request("k=3 s=2 p=same", (3, 3), view="gather", numbers=True),
        {"svg": PICTURES / "gather.svg"},
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(application(), host="127.0.0.1", port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        page = browser.new_page(viewport={"width": 1100, "height": 860})
        page.goto(f"http://127.0.0.1:{port}/?input=4x4&padding=same")
        page.hover('#stage rect[data-panel="output"][data-cell="18"]')
        page.screenshot(path=PICTURES / "explore.png")
        browser.close()
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
