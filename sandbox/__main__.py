"""`python -m sandbox`: serves until SIGTERM or Ctrl-C; `replay FILE` plays a recording, `adversary` misleads, and
`convert` makes a recording of what another program has stored."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

from sandbox import convert, replay
from sandbox.adversaries.server import AdversaryServer
from sandbox.server import Sandbox

USUAL_PORT = 9100
PATIENCE_SECONDS = 0.2


def main() -> int:
    options = _options()
    if options.sources:
        return _convert(options)
    try:
        asyncio.run(_serve(options.host, options.port, _application(options)))
    except replay.BadRecording as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        sys.stderr.write(f"sandbox: cannot listen on {options.host}:{options.port}: {reason}\n")
        sys.stderr.write("sandbox: choose another port with --port or SANDBOX_PORT\n")
        return 1
    return 0


def _convert(options: argparse.Namespace) -> int:
    try:
        events = convert.convert(options.sources, options.exchange, options.to)
    except (convert.NotRaw, OSError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    sys.stdout.write(f"sandbox: {events} events; play them with: python -m sandbox replay {options.to}\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sandbox", description="Simulated exchanges that speak real wire formats.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=os.environ.get("SANDBOX_PORT") or USUAL_PORT)
    markets = os.environ.get("SANDBOX_MARKETS") or None
    parser.add_argument("--markets", type=int, default=markets, help="this many trading markets on every venue")
    parser.add_argument("--stream-seconds", type=float, default=1.0, help="between two messages of one market")
    parser.set_defaults(file=None, seed=None, sources=None)
    others = parser.add_subparsers(metavar="replay FILE | adversary | convert FILE")
    adversaries = others.add_parser("adversary", help="exchanges whose answers are sound and easily misread")
    adversaries.add_argument("--seed", type=int, default=1)
    replays = others.add_parser("replay", help="play a recording of an exchange")
    replays.add_argument("file", type=Path)
    replays.add_argument("--speed", type=float, default=1.0, help="times its own pace")
    converts = others.add_parser("convert", help="make a recording of raw data that cryptofeed has stored")
    converts.add_argument("sources", type=Path, nargs="+", metavar="FILE")
    converts.add_argument("--exchange", required=True, help="its id")
    converts.add_argument("--to", type=Path, required=True, help="the file to write; one that is there is replaced")
    options = parser.parse_args()
    if options.file is not None and options.speed <= 0:
        parser.error("--speed is more than 0")
    if options.markets is not None and options.markets < 1:
        parser.error("--markets is 1 or more")
    if options.stream_seconds <= 0:
        parser.error("--stream-seconds is more than 0")
    return options


def _application(options: argparse.Namespace) -> web.Application:
    if options.file is not None:
        return replay.ReplayedExchange(replay.read(options.file), speed=options.speed).application()
    if options.seed is not None:
        return AdversaryServer(seed=options.seed).application()
    return Sandbox(size=options.markets, stream_seconds=options.stream_seconds).application()


async def _serve(host: str, port: int, application: web.Application) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # Cancellation ends the requests that hang on purpose once their client is gone.
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=PATIENCE_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
        bound = runner.addresses[0][1]  # another than `port` when that is 0
        sys.stdout.write(f"sandbox: listening on http://{host}:{bound}, control under /_sandbox/\n")
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
