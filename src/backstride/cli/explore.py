"""backstride explore."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer


def explore(
    call: Annotated[
        str | None, typer.Argument(help="A call to begin with; sliders take over from there.")
    ] = None,
    input: Annotated[str, typer.Option(help="Its input size.")] = "4x4",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")
    ] = 8765,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
) -> None:
    r"""Open a local page with sliders: move a transposed convolution and see every cell's origin.

    Needs: pip install "backstride\[explore]".
    Example: backstride explore 'Conv2DTranspose(8, 3, strides=2)'
    """
    from backstride import explore as explorer  # noqa: PLC0415  keeps start-up of the other commands short

    words = {} if call is None else {"call": call, "input": input}
    explorer.check(words)
    listening = explorer.listen(port)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/" + (
        f"?{urlencode(words)}" if words else ""
    )
    typer.echo(f"{address}  (Ctrl-C stops)")
    if open_page:
        import webbrowser  # noqa: PLC0415  the same

        _ = webbrowser.open(address)
    explorer.serve(listening)
