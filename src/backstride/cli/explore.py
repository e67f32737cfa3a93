"""backstride explore."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer


def explore(
    call: Annotated[str | None, typer.Argument(help="A call to begin with; sliders take over from there.")] = None,
    input: Annotated[str, typer.Option(help="Its input size.")] = "4x4",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port on 127.0.0.1.")] = 8765,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    r"""Open a local page with sliders: move a transposed convolution and see every cell's origin.

    Needs: pip install "backstride\[explore]". Example: backstride explore 'Conv2DTranspose(8, 3, strides=2)'
    """
    from backstride import explore as room  # noqa: PLC0415  keeps start-up of the other commands short
    from backstride.explore.parameters import read_query  # noqa: PLC0415

    words = {} if call is None else {"call": call, "input": input}
    _ = read_query(words)
    address = f"http://127.0.0.1:{port}/" + (f"?{urlencode(words)}" if words else "")
    typer.echo(f"{address}  (Ctrl-C stops)")
    if open_page:
        import webbrowser  # noqa: PLC0415  the same

        _ = webbrowser.open(address)
    room.serve(port)
