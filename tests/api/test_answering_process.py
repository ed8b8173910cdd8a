"""The process beside the gateway's: what it does holds no probe up, and its end is nobody's for long."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from tests.api.test_gateway import ask, exchange, server
from web import answering_process
from web.answering_process import WholeAnswer, whole

ENDED = "The process that answers has ended, or took too long. Try again in some seconds."


@pytest.fixture(scope="module")
def beside() -> Iterator[int]:
    with server("tests.api.echo_beside:application", DJANGO_SETTINGS_MODULE="") as port:
        yield port


def answerer(port: int, path: str = "/") -> psutil.Process:
    return psutil.Process(int(ask(port, path=path)[1]["answered_by"]))


def until(is_reached: Callable[[], Any], *, seconds: float = 60) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_reached():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_probes_and_statuses_are_answered_by_the_gateway_all_else_beside_it(beside: int) -> None:
    gateway, other = answerer(beside, "/live"), answerer(beside)

    assert other.parent().parent() == gateway  # type: ignore[union-attr]
    for path in ("/ready", "/health", "/v1/status", "/api/v1/market/workers/status"):
        assert answerer(beside, path) == gateway
    for path in ("/metrics", "/metrics/collect", "/admin/", "/board/", "/api/v1/gaps", "/status", "/x"):
        assert answerer(beside, path) == other


def test_what_holds_the_interpreters_lock_holds_no_probe_up(beside: int) -> None:
    """Seen by order alone: a request that keeps the lock for ten seconds is still being answered."""
    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(
            exchange, beside, b"GET /hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", seconds=90
        )
        time.sleep(0.5)
        probes = [ask(beside, path=path)[0] for path in ("/live", "/ready", "/health", "/v1/status")]
        is_still_held = not held.done()
        assert held.result()[0] == 200

    assert (probes, is_still_held) == ([200] * 4, True)


def test_a_request_is_handed_over_as_it_came(beside: int) -> None:
    headers = ("Content-Length: 5", "Cookie: a=1", "Cookie: b=2", "X-Name: \xe9\xff")
    told = ask(beside, *headers, path="/%ff%E2%82%AC?q=%00%C3%A9", method="POST", body=b"1\x00345")[1]
    here = ask(beside, *headers, path="/v1/%ff%E2%82%AC?q=%00%C3%A9", method="POST", body=b"1\x00345")[1]

    different = {name for name in told if told[name] != here[name]}
    assert set(told) == set(here)
    assert different == {"PATH_INFO", "answered_by"}


def test_one_that_is_killed_is_there_again_and_its_callers_are_told(beside: int) -> None:
    killed = answerer(beside)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, beside, path="/sleep")
        time.sleep(0.3)
        killed.kill()
        status, told = waiting.result()

    assert (status, told["message"]) == (503, ENDED)
    assert answerer(beside) != killed


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_gateway(how: signal.Signals) -> None:
    with server("tests.api.echo_beside:application", DJANGO_SETTINGS_MODULE="") as port:
        other, gateway = answerer(port), answerer(port, "/live")
        keeper = other.parent()
        gateway.send_signal(how)
        until(lambda: not other.is_running() and not (keeper and keeper.is_running()))


def test_signals_to_the_whole_group_end_no_answer_early(beside: int) -> None:
    other = answerer(beside)
    keeper = other.parent()
    assert keeper
    for each in (other, keeper):
        each.send_signal(signal.SIGTERM)
        each.send_signal(signal.SIGINT)

    assert answerer(beside) == other


def test_one_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_process, "STILL_SECONDS", 9.0)
    monkeypatch.setattr(answering_process, "LOOK_SECONDS", 0.05)
    life = mmap.mmap(-1, mmap.PAGESIZE)  # last noted long ago
    child = subprocess.Popen(["sleep", "600"])

    assert answering_process._watched(child.pid, life) == -signal.SIGKILL
    child.returncode = -signal.SIGKILL  # it was waited for by its number


def test_it_holds_no_socket_of_the_servers(beside: int) -> None:
    other = answerer(beside)
    keeper = other.parent()
    assert keeper

    assert [each.net_connections() for each in (other, keeper)] == [[], []]


def test_an_answer_is_closed_when_it_is_whole() -> None:
    closed = []

    class Parts(list[bytes]):
        def close(self) -> None:
            closed.append(os.getpid())

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("201 Created", [("A", "b")])
        return Parts([environ["wsgi.input"].read(), b"2"])

    assert whole(application, {}, b"1") == WholeAnswer(201, [("A", "b")], b"12")
    assert closed == [os.getpid()]
