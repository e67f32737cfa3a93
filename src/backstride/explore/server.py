"""The server: one page, its data, its style and its script.

Loopback only, and no file is named by a request.
"""

from __future__ import annotations

import importlib
import json
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backstride.calls import SourceCall
from backstride.explain.explanation import Explanation, explain
from backstride.explain.page import asset, contents, document
from backstride.explain.views import View
from backstride.explore.controls import controls
from backstride.explore.parameters import BOUNDS, RULES, read_query

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from uvicorn import Config

HOSTS = ("127.0.0.1", "localhost", "[::1]")
PATIENCE = 10.0  # seconds for a connection to say what it wants
MOST_CONNECTIONS = 64
ADDRESS = "127.0.0.1"
LONGEST_QUERY = 4000
HEADERS = {
    # Styles stand inside the SVGs; scripts only in a file of ours.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' "
        "data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Connection": "close",
}
HEAD = '<link rel="stylesheet" href="page.css"><link rel="icon" href="data:,">'
SCRIPT = '<script src="page.js"></script>'


def application() -> Starlette:
    """The page as an ASGI application, for `serve` and for tests."""
    _need("starlette")
    from starlette.applications import Starlette  # noqa: PLC0415  an extra
    from starlette.middleware import Middleware  # noqa: PLC0415
    from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    return Starlette(
        routes=[
            Route("/", _page),
            Route("/draw", _draw),
            Route("/page.css", _style),
            Route("/page.js", _script),
        ],
        # A page elsewhere that points its own name at 127.0.0.1 is refused.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )


def check(query: Mapping[str, str]) -> None:
    """Refuse a query that the page could not show, with `ValueError` or `TypeError`."""
    _ = _explained(query)


def listen(port: int) -> socket.socket:
    """A socket that listens on the loopback interface; 0 takes a free port.

    Raises `ValueError` where the port cannot be had.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
    except OSError as problem:
        listening.close()
        message = (
            f"`port` (={port}) cannot be had on {ADDRESS}: {problem.strerror}; port=0 takes a free "
            "one"
        )
        raise ValueError(message) from None
    listening.listen()
    return listening


def serve(listening: socket.socket, *, log: bool = False) -> None:
    """Serve the page on a socket of `listen` until interrupted; needs Starlette and uvicorn."""
    _need("uvicorn")
    uvicorn = importlib.import_module("uvicorn")
    uvicorn.Server(configuration(log=log)).run(sockets=[listening])


def configuration(*, log: bool = False) -> Config:
    """How uvicorn serves the page.

    One request a connection, which must come soon, and not too many at once.
    """
    uvicorn = importlib.import_module("uvicorn")
    protocol = importlib.import_module("uvicorn.protocols.http.h11_impl").H11Protocol

    class Impatient(protocol):
        def connection_made(self, transport: object) -> None:
            protocol.connection_made(self, transport)
            _ = self.loop.call_later(PATIENCE, self.give_up)

        def give_up(self) -> None:
            if self.cycle is None:
                self.transport.close()

    return uvicorn.Config(
        application(),
        http=Impatient,
        log_level="info" if log else "warning",
        access_log=log,
        limit_concurrency=MOST_CONNECTIONS,
    )


def _page(request: Request) -> Response:
    query, status, problem = dict(request.query_params), 200, ""
    try:
        call, explanation, view = _read(request, query)
        content = contents(explanation, (view,), view=view)
    except (ValueError, TypeError) as refusal:
        status, problem = 422, str(refusal)
        call, explanation, view = _explained({})
        content = contents(explanation, (view,), view=view)
    form = controls(
        explanation.geometry,
        _rule(call, explanation),
        _output_padding(call, explanation),
        query.get("call", call.text)[:1000],
        problem=problem,
    )
    return _reply(
        document(explanation, content, head=HEAD, script=SCRIPT, controls=form), "text/html", status
    )


def _draw(request: Request) -> Response:
    try:
        _, explanation, view = _read(request, dict(request.query_params))
        content = contents(explanation, (view,), view=view)
    except (ValueError, TypeError) as refusal:
        return _reply(json.dumps({"error": str(refusal)}), "application/json", 422)
    return _reply(json.dumps(content), "application/json")


def _style(_: Request) -> Response:
    return _reply(asset("page.css"), "text/css")


def _script(_: Request) -> Response:
    return _reply(asset("page.js"), "text/javascript")


def _read(request: Request, query: Mapping[str, str]) -> tuple[SourceCall, Explanation, View]:
    if len(request.url.query) > LONGEST_QUERY:
        message = (
            f"the query has {len(request.url.query)} characters; at most {LONGEST_QUERY} are read"
        )
        raise ValueError(message)
    return _explained(query)


def _explained(query: Mapping[str, str]) -> tuple[SourceCall, Explanation, View]:
    call, view = read_query(query)
    geometry = call.geometry()
    for name in ("input", "kernel", "strides", "dilation"):
        largest, bound = max(getattr(geometry, name)), BOUNDS[name].largest
        if largest > bound:
            message = (
                f"`{name}` (={largest}) must be at most {bound} on the page; backstride explain "
                "takes more"
            )
            raise ValueError(message)
    return call, explain(call), view


def _rule(call: SourceCall, explanation: Explanation) -> str:
    """What the select of paddings says: a rule, "number" for the slider, or pairs."""
    if call.framework == "backstride" and call.padding in RULES and call.output_shape is None:
        return str(call.padding)
    extra = _output_padding(call, explanation)
    crops = explanation.geometry.crop
    if all(
        0 <= before - after == cells for (before, after), cells in zip(crops, extra, strict=True)
    ):
        return "number"
    return ";".join(f"{before},{after}" for before, after in crops)


def _output_padding(call: SourceCall, explanation: Explanation) -> tuple[int, ...]:
    """The difference of the two crops, where a slider can say it."""
    geometry = explanation.geometry
    differences = tuple(before - after for before, after in geometry.crop)
    limits = (max(s, d) for s, d in zip(geometry.strides, geometry.dilation, strict=True))
    legal = all(0 <= cells < limit for cells, limit in zip(differences, limits, strict=True))
    return differences if legal and call.output_shape is None else (0,) * len(differences)


def _reply(content: str, kind: str, status: int = 200) -> Response:
    from starlette.responses import Response  # noqa: PLC0415  an extra

    return Response(content, status, HEADERS, f"{kind}; charset=utf-8")


def _need(name: str) -> None:
    try:
        _ = importlib.import_module(name)
    except ModuleNotFoundError as problem:
        message = f'the page needs {name}: pip install "backstride[explore]"'
        raise ImportError(message) from problem
