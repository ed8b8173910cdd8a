"""The door that all requests come through, asked over raw sockets at the real server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from embedded.settings import web_command
from lib.home import PROJECT_DIR

MEGABYTE = 1024 * 1024


@contextlib.contextmanager
def server(target: str, **environ: str) -> Iterator[int]:
    """granian as `make run` and the image start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [*web_command(port)[:-1], target]
    process = subprocess.Popen(command, cwd=PROJECT_DIR, env={**os.environ, "LOG_LEVEL": "ERROR", **environ})
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    with server("tests.api.echo:application", DJANGO_SETTINGS_MODULE="") as port:
        yield port


def exchange(port: int, raw: bytes, *, seconds: float = 20) -> tuple[int, str, bytes]:
    """Status, headers and body of the answer to exactly these bytes."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        with contextlib.suppress(OSError):  # refused before all of it was sent
            connection.sendall(raw)
        answer = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode("latin-1"), body


def ask(port: int, *headers: str, path: str = "/", method: str = "GET", body: bytes = b"") -> tuple[int, Any]:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    status, _, told = exchange(port, "\r\n".join(lines).encode("latin-1") + body)
    return status, json.loads(told)


@pytest.mark.parametrize(
    "header",
    ["X_Forwarded_For: 1.1.1.1", "X-Forwarded_For: 1.1.1.1", "x_forwarded-for: é", "_: 1", "Content_Length: 0"],
)
@pytest.mark.parametrize("comes", ["before", "after", "alone"])
def test_a_name_with_an_underscore_is_refused(echo: int, header: str, comes: str) -> None:
    real = "X-Forwarded-For: 198.51.100.1"
    lines = {"before": [header, real], "after": [real, header], "alone": [header]}[comes]

    status, told = ask(echo, *lines)

    assert (status, told["message"]) == (400, "Names of headers have hyphens, not underscores.")


@pytest.mark.parametrize(
    "header",
    [
        "X-A: " + "a" * 8193,
        "Cookie: a=" + "b" * 8192,
        'Cookie: a="' + '\\"' * 501,
        "Content-Type: a/b; " + "a=b;" * 3000,
    ],
)
def test_headers_that_are_dear_to_read_are_refused(echo: int, header: str) -> None:
    """60 KB of cookies held the whole web for eight seconds, by a fault of Python's before 3.12.6."""
    assert ask(echo, header)[0] == 431


def test_long_cookies_in_pieces_are_one(echo: int) -> None:
    assert ask(echo, *[f"Cookie: a{n}={'b' * 1000}" for n in range(9)])[0] == 431
    assert ask(echo, *[f"Cookie: a{n}={'b' * 1000}" for n in range(8)])[0] == 200


def test_what_the_proxy_says_arrives(echo: int) -> None:
    status, told = ask(
        echo, "X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.1", "Cookie: a=1", "Cookie: b=2"
    )

    assert status == 200
    assert (told["HTTP_X_FORWARDED_FOR"], told["HTTP_COOKIE"]) == ("203.0.113.9,198.51.100.1", "a=1;b=2")
    assert (told["REMOTE_ADDR"], told["HTTP_HOST"], told["SERVER_PROTOCOL"]) == ("127.0.0.1", "localhost", "HTTP/1.1")
    assert "PATH" not in told  # the process's environment is no part of a request


@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/a%20b?x=%20", "/a b"),
        ("/%E2%82%AC", "/â\x82¬"),
        ("/%ff", "/ÿ"),
        ("/a%2Fb", "/a/b"),
        ("//x", "//x"),
        ("/%zz", "/%zz"),
    ],
)
def test_a_path_is_what_wsgi_wants(echo: int, path: str, decoded: str) -> None:
    assert ask(echo, path=path)[1]["PATH_INFO"] == decoded


def test_a_body_is_there_by_length_and_in_chunks(echo: int) -> None:
    by_length = ask(echo, "Content-Length: 5", method="POST", body=b"12345")
    in_chunks = ask(echo, "Transfer-Encoding: chunked", method="POST", body=b"3\r\n123\r\n2\r\n45\r\n0\r\n\r\n")

    assert [(status, told["body"], told["CONTENT_LENGTH"]) for status, told in (by_length, in_chunks)] == [
        (200, 5, "5")
    ] * 2


def test_a_body_that_is_too_long_is_not_read(echo: int) -> None:
    length = 200 * MEGABYTE

    status, told = ask(echo, f"Content-Length: {length}", method="POST", body=b"x" * 1000)

    assert (status, told["CONTENT_LENGTH"], told["body"]) == (200, str(length), 0)


def test_endless_chunks_are_read_to_the_limit(echo: int) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

    status, told = ask(echo, "Transfer-Encoding: chunked", method="POST", body=chunk * 40)

    assert (status, told["body"]) == (200, MEGABYTE + 1)


def test_slow_senders_keep_nobody_waiting(echo: int) -> None:
    """Forty of them held every thread of a server that reads bodies in its threads."""
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", echo)))
            slow.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        started = time.monotonic()

        assert ask(echo, "Content-Length: 1", method="POST", body=b"1")[0] == 200
        assert time.monotonic() - started < 5


def test_who_asks_whether_we_live_waits_for_nobody(echo: int) -> None:
    with ThreadPoolExecutor(16) as threads:
        waiting = [threads.submit(ask, echo, path="/sleep") for _ in range(16)]
        time.sleep(0.2)
        started = time.monotonic()
        assert ask(echo, path="/live")[0] == 200
        waited = time.monotonic() - started
        assert [each.result()[0] for each in waiting] == [200] * 16
    assert waited < 0.8  # the sixteen take two seconds


def test_an_answer_in_parts_is_streamed_and_closed(echo: int) -> None:
    before = ask(echo)[1]["closed"]

    status, head, body = exchange(echo, b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert (status, "content-length" in head.lower()) == (200, False)
    assert [line for line in body.split(b"\r\n") if line.endswith(b"\n")] == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]
    assert ask(echo)[1]["closed"] == before + 1


def read_all(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_an_answer_that_fails_on_the_way_is_reset(echo: int, version: str) -> None:
    """It ended like a whole one: a download of which the database had given a part was taken for all of it."""
    with socket.create_connection(("127.0.0.1", echo), 20) as connection:
        connection.sendall(f"GET /breaks {version}\r\nHost: localhost\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            read_all(connection)


def test_sleeping_readers_keep_nobody_waiting(echo: int) -> None:
    """Eight of them held every thread for as long as they slept."""
    before = ask(echo)[1]["closed"]
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            sleeper = stack.enter_context(socket.create_connection(("127.0.0.1", echo)))
            sleeper.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        started = time.monotonic()

        assert ask(echo)[0] == 200
        assert time.monotonic() - started < 3
    give_up_at = time.monotonic() + 10
    while ask(echo)[1]["closed"] < before + 20:  # each is closed when its reader has gone
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_a_server_that_is_killed_resets_what_is_under_way() -> None:
    with server("tests.api.echo:application", DJANGO_SETTINGS_MODULE="") as port:
        connection = socket.create_connection(("127.0.0.1", port), 20)
        connection.sendall(b"GET /pauses HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.0 200"
        for process in reversed(psutil.Process().children(recursive=True)):  # workers before who would stop them
            if str(port) in " ".join(process.cmdline()) or "spawn_main" in " ".join(process.cmdline()):
                process.kill()
        with connection, pytest.raises(ConnectionResetError):
            read_all(connection)


def test_cookies_stay_apart(echo: int) -> None:
    _, head, _ = exchange(echo, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    assert head.lower().count("set-cookie") == 2


def test_nobody_speaks_http_2_without_tls(echo: int) -> None:
    with socket.create_connection(("127.0.0.1", echo), 10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")

        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(9)[3:4] != b"\x04"  # their SETTINGS frame


# --- the whole site -------------------------------------------------------------------------------------------------

KEY = "t3qVb7m-operators-key-of-these-tests-0Zk9"
OPERATORS = "/api/v1/exchanges/blacklist/"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    scratch = tmp_path_factory.mktemp("uploads")
    environ = {"ADMIN_API_KEY": KEY, "TRUSTED_PROXIES": "127.0.0.0/8", "TMPDIR": str(scratch), "USE_TLS": "0"}
    with server("marketmon.rsgi:application", **environ) as port:
        yield port


def test_guesses_behind_a_proxy_are_counted_whatever_else_is_sent(site: int) -> None:
    def guess(*headers: str) -> int:
        return ask(site, "X-Admin-Key: " + "w" * 40, "Content-Length: 0", *headers, path=OPERATORS, method="POST")[0]

    real = "X-Forwarded-For: 198.51.100.77"
    forged = [guess(f"X_Forwarded_For: 203.0.113.{number}", real) for number in range(8)]
    in_line = [guess(f"X-Forwarded-For: 203.0.113.{number}, 198.51.100.77:{4000 + number}") for number in range(8)]

    assert (forged, in_line) == ([400] * 8, [401] * 5 + [429] * 3)
    assert ask(site, f"X-Admin-Key: {KEY}", "Content-Length: 0", real, path=OPERATORS, method="POST")[0] == 400


def test_a_file_is_refused_before_anything_of_it_is_kept(site: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    for length in (200 * MEGABYTE, 1000):
        part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' + b"x" * 500
        rest = b"\r\n--b--\r\n".rjust(length - len(part), b"x") if length == 1000 else b"x" * MEGABYTE
        headers = f"Host: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {length}"
        raw = f"POST /admin/login/ HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode() + part + rest

        status, _, body = exchange(site, raw)

        assert status == (413 if length > 1000 else 415)
        assert b"<h1>" in body
    assert list(tmp_path_factory.getbasetemp().glob("uploads*/*")) == []


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/status", 413, b'"payload_too_large"'),
        ("/v1/status/pipelines", 413, b'"payload_too_large"'),
        ("/metrics/collect", 422, b'"json_invalid"'),
        ("/regime/analyze", 422, b'"json_invalid"'),
        ("/admin/login/", 413, b"<h1>"),
        ("/board/drills/start", 413, b"<h1>"),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True], ids=["announced", "chunked"])
def test_too_long_a_body_is_refused_in_the_callers_words(
    site: int, path: str, status: int, words: bytes, is_chunked: bool
) -> None:
    method = "GET" if path.startswith("/v1") else "POST"
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {3 * MEGABYTE}"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}"
    body = (b"10000\r\n" + b"[" * 0x10000 + b"\r\n") * 48 if is_chunked else b"[" * 3 * MEGABYTE

    answered, _, told = exchange(site, f"{head}\r\nConnection: close\r\n\r\n".encode() + body)

    assert answered == status
    assert words in told


def test_quotes_hold_nobody(site: int) -> None:
    """64 KB of them held every thread for a quarter of a minute."""
    body = b'"' + b'\\"' * 32_760
    started = time.monotonic()

    status, _ = ask(
        site,
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        path="/grids/create",
        method="POST",
        body=body,
    )

    assert status == 422
    assert time.monotonic() - started < 10
