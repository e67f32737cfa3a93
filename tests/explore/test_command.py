"""`backstride explore` as a user runs it: a process, its page over the loopback interface, and its
end.
"""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Generator
from contextlib import contextmanager

import pytest

_ = pytest.importorskip("starlette", reason="the page needs Starlette")
_ = pytest.importorskip("uvicorn", reason="the page needs uvicorn")

CALL = "nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)"


def start(*words: str) -> subprocess.Popen[str]:
    program = "from backstride.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, "explore", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def explored(*words: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The command and its address; killed at the end where it did not stop."""
    with start(*words) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.endswith("  (Ctrl-C stops)\n")
            yield process, line.split()[0]
        finally:
            process.kill()


def refused(*words: str) -> tuple[int, str, str]:
    with start(*words) as process:
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        return process.returncode, output, errors


def fetch(address: str) -> tuple[int, str]:
    where = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", where.port or 0, timeout=60)
    try:
        connection.request("GET", f"{where.path}?{where.query}")
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def test_the_command_serves_its_call_until_ctrl_c() -> None:
    with explored(CALL, "--input", "5x4", "--port", "0") as (process, address):
        status, page = fetch(address)
        assert status == 200
        assert "8 channels  -&gt;  9 x 7, 4 channels" in page
        front = address.partition("?")[0]
        for query, words in (
            ({"input": "4097"}, "`input` (=4097) must be 1 to 4096"),
            ({"call": "__import__('os').system('true')"}, "`call` has no function"),
            ({"view": "../../etc/passwd"}, "`view` (='../../etc/passwd') must be one of"),
        ):
            status, reply = fetch(f"{front}draw?{urllib.parse.urlencode(query)}")
            assert status == 422
            assert words in reply
        assert fetch(f"{front}page.py")[0] == 404
        assert fetch(f"{front}../cli/explore.py")[0] == 404
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "backstride: stopped\n")
        with pytest.raises(ConnectionRefusedError):
            _ = fetch(front)


def test_it_listens_on_the_loopback_interface_only() -> None:
    with explored("--port", "0") as (_, address):
        port = int(urllib.parse.urlsplit(address).port or 0)
        with socket.socket(socket.AF_INET) as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output, errors = refused("--port", str(port))
    line = (
        f"backstride: `port` (={port}) cannot be had on 127.0.0.1: Address already in use; port=0 "
        "takes a free one\n"
    )
    assert (code, output, errors) == (2, "", line)


def test_a_call_that_cannot_be_shown_starts_nothing() -> None:
    code, output, errors = refused("k=3 s=0", "--port", "0")
    assert (code, output) == (2, "")
    assert errors.startswith("backstride: `strides` (=0) must be ")
    assert errors.count("\n") == 1
