"""Raw data of cryptofeed become a recording, which the sandbox plays to a stream of ours."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from feeds.base import FeedSpec
from feeds.ccxt import markets
from feeds.ccxt.stream import CcxtStream
from sandbox import replay
from sandbox.convert import NotRaw, convert
from tests.sandbox_client import PROJECT, START_SECONDS, free_port, wait_for_http

ADDRESS = "wss://ws.okx.com:8443/ws/v5/public"
PATIENCE_SECONDS = 30.0


def frame(market_id: str, last: str) -> str:
    row = {"instType": "SPOT", "instId": market_id, "last": last, "bidPx": last, "askPx": last, "ts": "1795000000000"}
    return json.dumps({"arg": {"channel": "tickers", "instId": market_id}, "data": [row]})


SAID = json.dumps({"op": "subscribe", "args": [{"channel": "tickers", "instId": "AAA-USDT"}]})
RAW = f"""{ADDRESS} <-> 1795000000.5
{ADDRESS} <- 1795000000.75: {SAID}
{ADDRESS} <- 1795000000.75: {SAID}
1795000001.0: {frame("AAA-USDT", "1.5")}
1795000001.25: b'\\x1f\\x8b'
1795000001.5: {frame("AAA-USDT", "1.75")}
"""
ASKED = "https://www.okx.com/api/v5/public/time -> 1795000000.25: " + '{"code":"0","data":[{"ts":"1795000000250"}]}\n'


@pytest.fixture
def raw(tmp_path: Path) -> list[Path]:
    plain, packed = tmp_path / "OKX.http.0", tmp_path / "OKX.ws.1.0.gz"
    plain.write_text(ASKED)
    packed.write_bytes(gzip.compress(RAW.encode()))
    return [packed, plain]


def test_what_was_stored_is_a_recording_in_its_own_order(raw: list[Path], tmp_path: Path) -> None:
    assert convert(raw, "okx", tmp_path / "out.json.gz") == 7

    content = replay.read(tmp_path / "out.json.gz")
    (connection,) = content.connections
    assert (content.exchange, content.seconds) == ("okx", 1.25)
    assert (connection.host, connection.path, connection.opened_at) == ("ws.okx.com", "/ws/v5/public", 0.25)
    assert connection.frames == [
        (0.5, 2, frame("AAA-USDT", "1.5")), (0.75, 2, b"\x1f\x8b"), (1.0, 2, frame("AAA-USDT", "1.75")),
    ]  # fmt: skip
    ((answer,),) = content.exact.values()
    assert (answer.status, json.loads(answer.body)["code"]) == (200, "0")


@pytest.mark.parametrize("text", ["", "hello\n", "1795000001.0: {}\n", f"{ADDRESS} <-> yesterday\n"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)

    with pytest.raises(NotRaw):
        convert([tmp_path / "x"], "okx", tmp_path / "out.json.gz")


@contextmanager
def played(path: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "sandbox", "--port", str(port), "replay", str(path), "--speed", "10"]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        wait_for_http(f"http://127.0.0.1:{port}/_replay", seconds=START_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def test_a_stream_of_ours_reads_what_is_played(raw: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "out.json.gz"
    command = ["-m", "sandbox", "convert", *map(str, raw), "--exchange", "okx", "--to", str(path)]
    subprocess.run([sys.executable, *command], cwd=PROJECT, check=True, stdout=subprocess.DEVNULL)
    row = {"id": "AAA-USDT", "symbol": "AAA/USDT", "base": "AAA", "quote": "USDT", "type": "spot", "spot": True}

    async def hear(url: str) -> list[float | None]:
        stream = CcxtStream(FeedSpec("okx", base_url=url))
        stream.install_markets(markets.pack_rows([row | {"active": True, "baseId": "AAA", "quoteId": "USDT"}]))
        found: list[float | None] = []
        try:
            await stream.subscribe(["AAA/USDT"])
            async with asyncio.timeout(PATIENCE_SECONDS):
                while found[-1:] != [1.75]:
                    await asyncio.sleep(0.01)
                    found += [quote.last for quote in stream.drain()]
        finally:
            await stream.close()
        return found

    with played(path) as url:
        assert asyncio.run(hear(url))[-1] == 1.75
