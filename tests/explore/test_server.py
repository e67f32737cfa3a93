"""The server takes nothing on trust: bounds, clear refusals, no injection, loopback only."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_ = pytest.importorskip("starlette", reason="the page needs Starlette")
_ = pytest.importorskip("httpx2", reason="Starlette's test client needs httpx2")

from starlette.testclient import TestClient  # noqa: E402

from backstride.calls import parse  # noqa: E402
from backstride.explore import application, server  # noqa: E402
from backstride.explore.parameters import BOUNDS, NAMES, read_query  # noqa: E402

Client = Any


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with TestClient(application(), base_url="http://127.0.0.1") as opened:
        yield opened


def test_the_page_is_whole_and_fetches_nothing_from_elsewhere(client: Client) -> None:
    reply = client.get("/")
    assert reply.status_code == 200
    assert set(re.findall(r'(?:src|href)="([^"]*)"', reply.text)) == {
        "page.css",
        "page.js",
        "data:,",
        "?",
    }
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    for name in ("page.css", "page.js"):
        text = client.get(f"/{name}").text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_other_hosts_are_refused(client: Client) -> None:
    for host in ("testserver", "example.org", "127.0.0.1.example.org"):
        assert client.get("/", headers={"Host": host}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8765"}).status_code == 200


def test_a_connection_that_asks_for_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    uvicorn: Any = pytest.importorskip("uvicorn", reason="the page needs uvicorn")
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    listening = server.listen(0)
    running = uvicorn.Server(server.configuration())
    thread = threading.Thread(target=lambda: running.run(sockets=[listening]), daemon=True)
    thread.start()
    with socket.create_connection(listening.getsockname(), timeout=60) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")  # and never the end of it
        assert slow.recv(1) == b""
    with socket.create_connection(listening.getsockname(), timeout=60) as quick:
        quick.sendall(b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert quick.recv(12) == b"HTTP/1.1 200"
    running.should_exit = True
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_drawing_again_gives_the_trace_of_the_call(client: Client) -> None:
    data = client.get(
        "/draw", params={"input": "3x4", "kernel": "3", "strides": "2", "padding": "same"}
    ).json()
    assert data["trace"]["output"] == [6, 8]
    assert data["headline"] == "3 x 4  ->  6 x 8"
    assert data["drawings"]["scatter"].startswith("<svg")
    assert "ConvTranspose2d" in data["code"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"input": "4097"}, "`input` (=4097) must be 1 to 4096; the nearest legal value is 4096"),
        (
            {"input": "1e9"},
            "`input` (='1e9') must be an integer, or one for each axis joined by x; for example 4",
        ),
        (
            {"input": "1000000000"},
            "`input` (=1000000000) must be 1 to 4096; the nearest legal value is 4096",
        ),
        ({"kernel": "0"}, "`kernel` (=0) must be 1 to 64; the nearest legal value is 1"),
        (
            {"strides": "99999999999999999999"},
            "`strides` (=99999999999999999999) must be 1 to 64; the nearest legal value is 64",
        ),
        (
            {"padding": "../../etc"},
            "`padding` (='../../etc') must be same, same_lower, valid, an integer",
        ),
        (
            {"view": "<script>"},
            "`view` (='<script>') must be one of scatter, gather, convolution, coverage",
        ),
        ({"file": "x"}, "`file` is no parameter; there are call, input"),
        ({"call": "k=3 " * 1000}, "the query has "),
        ({"call": "k=3 " * 300}, "`call` has 1200 characters; at most 1000 are read here"),
        ({"call": "/etc/passwd"}, "`call` "),
        ({"call": "secret.onnx:node"}, "`call` names a file; the page opens none"),
        ({"call": "k=500", "input": "4x4"}, "`kernel` (=500) must be at most 64 on the page"),
        ({"call": "__import__('os').system('true')"}, "`call` "),
        ({"padding": "9", "input": "1x1"}, "`padding` (=9) must leave at least 1"),
        (
            {"input": "64", "kernel": "64x64", "strides": "1"},
            "`kernel` (=(64, 64)) has 4096 taps, too many to draw",
        ),
    ],
)
def test_what_is_not_legal_is_a_clear_422(
    client: Client, query: dict[str, str], message: str
) -> None:
    reply = client.get("/draw", params=query)
    assert reply.status_code == 422
    assert reply.json()["error"].startswith(message)
    page = client.get("/", params=query)
    assert page.status_code == 422
    assert "<script>" not in page.text.replace('<script src="page.js">', "").replace(
        "<script type=", ""
    )


@pytest.mark.parametrize(
    "hostile",
    ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "${7*7}"],
)
def test_nothing_in_the_query_becomes_markup(client: Client, hostile: str) -> None:
    for query in (
        {"call": hostile},
        {"call": f"k=3  # {hostile}"},
        {"view": hostile},
        {hostile: "1"},
    ):
        text = client.get("/", params=query).text
        assert "<img" not in text
        assert "alert(1)</script>" not in text
        assert "49" not in re.findall(r'role="alert">(.*?)</p>', text)[0]


def test_data_cannot_end_their_element(client: Client) -> None:
    call = "torch.nn.ConvTranspose2d(1, 1, 3)  # </script><b>"
    text = client.get("/", params={"call": call, "input": "3x3"}).text
    block = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert "<" not in block
    assert json.loads(block)["trace"]["output"] == [5, 5]


def test_another_host_s_name_is_refused(client: Client) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/page.py", "/%2e%2e/%2e%2e/etc/passwd", "/static/x"]
)
def test_there_are_no_other_files(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_only_reading_is_allowed(client: Client) -> None:
    assert client.post("/draw").status_code == 405


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.text(max_size=30) | st.from_regex(r"-?\d{1,3}(x-?\d{1,2})?", fullmatch=True),
    )
)
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_any_query_is_drawn_or_refused(client: Client, query: dict[str, str]) -> None:
    reply = client.get("/draw", params=query)
    assert reply.status_code in {200, 422}
    assert isinstance(reply.json(), dict)


@given(st.data())
@settings(max_examples=60)
def test_sliders_say_what_the_library_says(data: st.DataObject) -> None:
    names = ("input", "kernel", "strides", "dilation", "padding")
    sizes = {
        name: data.draw(st.integers(max(BOUNDS[name].least, 0), BOUNDS[name].most))
        for name in names
    }
    query = {name: f"{size}x{size}" for name, size in sizes.items()}
    words = f"k={sizes['kernel']} s={sizes['strides']} d={sizes['dilation']} p={sizes['padding']}"
    call, _ = read_query(query)
    try:
        wanted = parse(words).geometry((sizes["input"],) * 2)
    except ValueError:
        with pytest.raises(ValueError, match="must leave at least 1"):
            _ = call.geometry()
        return
    assert call.geometry() == wanted
