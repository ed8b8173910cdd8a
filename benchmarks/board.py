"""The live board for 50 readers: 50,000 pipelines of 100 exchanges while 5,000 rows a second are written.

Side by side with the same page and the same answers when nothing is kept: every request reads and renders the board.
A board asks as board.js does: it names the parts that it shows and takes over those that have changed.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore

from benchmarks import world
from benchmarks.comparison import Comparison, seconds_of
from benchmarks.processes import Site, running, running_sites
from benchmarks.world import World
from board import live
from collectors.models import Pipeline, Worker
from lib import clock, valkey

PATIENCE_SECONDS = 90.0  # 50 at once wait long for who renders each on its own


@dataclass(frozen=True, slots=True)
class Sizes:
    """Open boards, for how long they ask without a pause and at their pace, and that pace in seconds."""

    world: World
    boards: int
    rounds: int
    storm_seconds: float
    calm_seconds: float
    pace_seconds: float = 1.5  # as board.js asks


FULL = Sizes(world.PROMISED, boards=50, rounds=5, storm_seconds=6.0, calm_seconds=6.0)
SMOKE = Sizes(world.TINY, boards=4, rounds=1, storm_seconds=0.3, calm_seconds=1.5, pace_seconds=0.3)


@dataclass(slots=True)
class Reader:
    """One open board on one connection."""

    port: int
    cookie: str
    order: str = ""
    hashes: dict[str, str] = field(default_factory=dict)
    connection: socket.socket | None = None
    seconds: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)

    def open_page(self) -> tuple[float, int]:
        """Seconds to the first byte, and the size of the page as it was sent."""
        first_byte, head, body = self._ask("/board/")
        page = body.decode()
        self.order = re.findall(r'data-order="([^"]+)"', page)[0]
        self.hashes = dict(re.findall(r'data-fragment="([^"]+)" data-hash="([^"]+)"', page))
        return first_byte, len(head) + len(body)

    def ask(self) -> None:
        query = urlencode({"order": self.order, "have": "".join(self.hashes.values())})
        started = time.perf_counter()
        _, head, body = self._ask(f"/board/live?{query}")
        self.seconds.append(time.perf_counter() - started)
        self.lengths.append(len(body))
        self.parts.append(0)
        if head.startswith(b"HTTP/1.1 304"):
            return
        answer = json.loads(gzip.decompress(body))
        self.order = answer["order"]
        self.hashes |= {name: digest for name, (digest, _) in answer["changed"].items()}
        self.parts[-1] = len(answer["changed"])

    def _ask(self, path: str) -> tuple[float, bytes, bytes]:
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
        started = time.perf_counter()
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {self.cookie}\r\n\r\n".encode())
        received = self.connection.recv(1 << 18)
        first_byte = time.perf_counter() - started
        while b"\r\n\r\n" not in received:
            received += self.connection.recv(1 << 18)
        head, _, body = received.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")):
            raise RuntimeError(head[:300].decode(errors="replace"))
        found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        length = int(found[1]) if found and b"304" not in head[:12] else 0
        while len(body) < length:
            body += self.connection.recv(1 << 18)
        return first_byte, head, body


def comparisons(sizes: Sizes) -> Iterator[Comparison]:
    now = clock.now()
    world.seed(sizes.world, now)
    Pipeline.objects.update(received_at=now)
    Worker.objects.update(heartbeat_at=now, stored_at=now)
    cookie = _cookie()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(running([sys.executable, "-m", "benchmarks.reading_ingestion"]))
        note = _pulse_note(sizes.rounds)
        kept, bare = stack.enter_context(running_sites(*_sites(folder)))
        stack.enter_context(running([sys.executable, "-m", "benchmarks.board_pulse"]))
        _wait_for_board()
        yield from _pages(kept, bare, cookie, rounds=sizes.rounds, note=note)
        yield from _polls(kept, bare, cookie, sizes)


def _sites(static: str) -> tuple[Site, Site]:
    """As it is, and without anything kept."""
    environ = {"STATIC_ROOT": static}
    return Site(environ=environ), Site(environ=environ | {"STATUS_BODY_MAX_AGE_SECONDS": "0"})


def _pulse_note(rounds: int) -> str:
    drawn = statistics.median(seconds_of(lambda: live.draw(clock.now())) for _ in range(rounds))
    published = statistics.median(seconds_of(lambda: live.publish(clock.now())) for _ in range(rounds))
    return f"the pulse draws the board in {drawn * 1000:.0f} ms and hands it over in {published * 1000:.0f} ms"


def _pages(kept: int, bare: int, cookie: str, *, rounds: int, note: str) -> Iterator[Comparison]:
    sides: list[list[tuple[float, int]]] = [[], []]
    for _ in range(rounds + 1):
        for place, port in enumerate((kept, bare)):
            sides[place].append(Reader(port, cookie).open_page())
    ours, other = (statistics.median(seconds for seconds, _ in side[1:]) for side in sides)
    size = sides[0][-1][1]
    yield Comparison(
        "board_first_byte", ours * 1000, other * 1000, goal=0.8, unit="ms", at_most=True, rounds=rounds,
        note=f"the whole page, {size / 1000:.0f} kB; other: read and rendered for this request; {note}",
    )  # fmt: skip


def _polls(kept: int, bare: int, cookie: str, sizes: Sizes) -> Iterator[Comparison]:
    """Boards that ask again as soon as they are answered: what one web process can bear. Then at their pace."""
    storm = Load(sizes.boards, sizes.storm_seconds, pace_seconds=0.0)
    figures = {port: [_read(port, cookie, storm) for _ in range(2)][1] for port in (kept, bare)}
    ours, other = figures[kept], figures[bare]
    enough = sizes.boards / sizes.pace_seconds
    yield Comparison(
        "board_50_readers", ours.per_second, other.per_second, goal=5.0, unit="requests/s",
        note=f"one web process, {sizes.boards} connections; {sizes.boards} boards ask {enough:.0f} times a second",
    )  # fmt: skip
    at_pace = Load(sizes.boards, sizes.calm_seconds, sizes.pace_seconds)
    calm, slow = _read(kept, cookie, at_pace), _read(bare, cookie, at_pace)
    yield Comparison(
        "board_answer_p50", calm.p50_ms, slow.p50_ms, goal=0.5, unit="ms", at_most=True,
        note=f"{sizes.boards} boards at their pace; p99 {calm.p99_ms:.0f} ms against {slow.p99_ms:.0f} ms",
    )  # fmt: skip
    yield Comparison(
        "board_answer_bytes", calm.mean_bytes, calm.whole_bytes, goal=0.25, unit="bytes", at_most=True,
        note=f"gzipped, mean of {calm.answers} answers with {calm.mean_parts:.1f} changed parts; other: all parts",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    per_second: float
    p50_ms: float
    p99_ms: float
    mean_bytes: float
    mean_parts: float
    answers: int
    whole_bytes: float


@dataclass(frozen=True, slots=True)
class Load:
    """So many boards for so long. Each asks once in `pace_seconds`; 0: as soon as it is answered."""

    boards: int
    seconds: float
    pace_seconds: float


def _read(port: int, cookie: str, load: Load) -> Figures:
    whole = Reader(port, cookie)
    whole.ask()
    readers = [Reader(port, cookie) for _ in range(load.boards)]
    readers[0].open_page()
    for reader in readers:
        reader.order, reader.hashes = readers[0].order, dict(readers[0].hashes)
    started = time.perf_counter()
    threads = [
        threading.Thread(
            target=_keep_asking,
            args=(reader, started + load.seconds, load.pace_seconds, place / load.boards * load.pace_seconds),
        )
        for place, reader in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    seconds = sorted(each for reader in readers for each in reader.seconds)
    lengths = [each for reader in readers for each in reader.lengths[1:]]
    parts = [each for reader in readers for each in reader.parts[1:]]
    return Figures(
        per_second=len(seconds) / took,
        p50_ms=statistics.median(seconds) * 1000,
        p99_ms=seconds[int(len(seconds) * 0.99)] * 1000,
        mean_bytes=statistics.fmean(lengths) if lengths else 0.0,
        mean_parts=statistics.fmean(parts) if parts else 0.0,
        answers=len(seconds),
        whole_bytes=whole.lengths[0],
    )


def _keep_asking(reader: Reader, until: float, pace: float, wait: float) -> None:
    time.sleep(wait)
    while time.perf_counter() < until:
        began = time.perf_counter()
        reader.ask()
        time.sleep(max(0.0, pace - (time.perf_counter() - began)))
    if reader.connection is not None:
        reader.connection.close()


def _cookie() -> str:
    """A signed-in operator's."""
    user, _ = User.objects.get_or_create(username="bench-operator", defaults={"is_staff": True, "is_superuser": True})
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}; board_guide=dismissed"


def _wait_for_board() -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not valkey.client().exists(live.KEY):
        if time.monotonic() > give_up_at:
            raise RuntimeError("the pulse draws nothing")
        time.sleep(0.05)
