"""The whole system on servers of the test's own, behind proxies: all of it can be hurt, and is asked how it is."""

from __future__ import annotations

import contextlib
import gzip
import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import redis
import requests

from embedded import attended, postgres, site, valkey
from tests.lab.proxy import Proxy
from tests.sandbox_client import PROJECT, Sandbox, free_port
from tests.system.conftest import AdminSession, clean_environment
from tests.system.test_running_system import SEEDED

INTERVAL_SECONDS = 2.0
START_SECONDS = 300.0  # of a machine that does other things, too
ROWS = "SELECT pipeline_id, received_at FROM collectors_tick WHERE received_at > now() - interval '20 seconds'"
TAGS = re.compile(r"<[^<>]*>")


@dataclass
class Server:
    """One of the two servers, as often as it is started."""

    place: site.Site
    kind: Any
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self) -> None:
        server = self._stack.enter_context(attended.running(self.kind.command(), self.place, self.stop_signal))
        is_ready: Callable[[], bool] = (
            (lambda: self.kind.is_ready(server.pid)) if isinstance(self.kind, postgres.Postgres) else self.kind.is_ready
        )
        attended.wait_for(is_ready, server)
        self.process = server

    def stop(self) -> None:
        self._stack.close()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the server and all that it has forked."""
        assert self.process is not None
        parent = psutil.Process(self.process.pid)
        for each in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self._stack.close()

    @contextlib.contextmanager
    def away(self, *, killed: bool = False) -> Iterator[None]:
        (self.kill if killed else self.stop)()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)


@dataclass
class Plant:
    """A running system. `words` is what it says of itself; `sql` and `valkey` reach the servers past the proxies."""

    home: Path
    url: str
    sandbox: Sandbox
    database: Server
    queue: Server
    to_database: Proxy
    to_valkey: Proxy
    process: subprocess.Popen[bytes]
    environ: dict[str, str]
    _admin: AdminSession | None = None

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def connect(self, **more: str) -> Any:
        connection = psycopg2.connect(self.database.kind.url, connect_timeout=5, **more)
        connection.autocommit = True
        return connection

    def valkey(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.queue.kind.socket_path), socket_timeout=5)

    def pids(self, pattern: str) -> list[int]:
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if re.search(pattern, " ".join(child.cmdline())):
                    found.append(child.pid)
        return found

    # --- what is asked -----------------------------------------------------------------------------------------

    def rows(self) -> set[tuple[int, Any]]:
        """The rows of the last seconds, which nobody may lose from now on."""
        return set(self.sql(ROWS))

    def stores_since(self, moment: float) -> bool:
        """Whether every exchange has stored a row that arrived after the moment, and all parts are ready."""
        try:
            found = self.sql(
                "SELECT m.exchange_id FROM collectors_tick t JOIN exchanges_market m ON m.id = t.pipeline_id "
                "WHERE t.received_at > to_timestamp(%s) GROUP BY 1",
                moment,
            )
            return {name for (name,) in found} >= SEEDED and requests.get(f"{self.url}/ready", timeout=5).ok
        except (psycopg2.Error, requests.RequestException):
            return False

    def words(self, since: int) -> str:
        """Everything that the system says: /ready, the board, open incidents, and the supervisor's log since then."""
        said = [self._ready(), self._board(), self._incidents()]
        log = self.home / "logs" / "supervisor.log"
        with log.open() as file:
            file.seek(since)
            said.append(file.read())
        return "\n".join(said)

    def log_length(self) -> int:
        return (self.home / "logs" / "supervisor.log").stat().st_size

    def _ready(self) -> str:
        try:
            body = requests.get(f"{self.url}/ready", timeout=5).json()
            return " ".join(f"{name} {word}." for name, word in body["services"].items())
        except (requests.RequestException, ValueError, KeyError) as error:
            return f"/ready: {type(error).__name__}"

    def _board(self) -> str:
        """The text of the whole board, or why there is none."""
        try:
            if self._admin is None:
                secrets = dict(
                    line.split("=", 1) for line in (self.home / "secrets.env").read_text().splitlines() if "=" in line
                )
                self._admin = AdminSession(self.url, secrets["ADMIN_USERNAME"], secrets["ADMIN_PASSWORD"])
            answer = self._admin.get(f"{self.url}/board/live", timeout=8)
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                return html.unescape(TAGS.sub(" ", answer.text))
            body = answer.json()
            if "changed" not in body:
                return str(body.get("message"))
            return html.unescape(TAGS.sub(" ", " ".join(part for _, part in body["changed"].values())))
        except (requests.RequestException, ValueError, KeyError, gzip.BadGzipFile) as error:
            return f"board: {type(error).__name__}"

    def _incidents(self) -> str:
        try:
            return "\n".join(
                f"{title}. {advice}"
                for title, advice in self.sql("SELECT title, advice FROM incidents_incident WHERE ended_at IS NULL")
            )
        except psycopg2.Error:
            return ""

    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.home / "logs" / "supervisor.log").read_text().splitlines()]

    def verify(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", "verify", "--hours", "1"], cwd=PROJECT, capture_output=True, text=True,
            env=self.environ, timeout=300,
        )  # fmt: skip


def make_servers(folder: Path) -> tuple[Server, Server]:
    place = site.settle(folder, elsewhere=folder.parent)
    assert place.postgres is not None
    assert place.valkey is not None
    database = postgres.Postgres(place, place.postgres.binary, {**postgres.LAPTOP, "shared_buffers": "64MB"})
    queue = valkey.Valkey(place, place.valkey.binary, valkey.LAPTOP)
    database.prepare()
    queue.prepare()
    return Server(place, database, signal.SIGINT), Server(place, queue, signal.SIGTERM)


@contextlib.contextmanager
def running_plant(**settings: str) -> Iterator[Plant]:
    """Starts servers, proxies and the system; ends all of them, however the block ends."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="marketmon-plant-", ignore_cleanup_errors=True))
        )
        folder.chmod(0o711)
        (folder / "servers").mkdir(mode=0o711)
        database, queue = make_servers(folder / "servers")
        for server in (database, queue):
            server.start()
            stack.callback(server.stop)
        ways = [Proxy(database.place.sockets / f".s.PGSQL.{postgres.PORT}"), Proxy(queue.kind.socket_path)]
        for way in ways:
            stack.callback(way.close)
        yield stack.enter_context(_running(folder, database, queue, ways, settings))


@contextlib.contextmanager
def _running(
    folder: Path, database: Server, queue: Server, ways: list[Proxy], settings: dict[str, str]
) -> Iterator[Plant]:
    port, sandbox_port = free_port(), free_port()
    environ = clean_environment() | {
        "MARKETMON_HOME": str(folder / "home"),
        "DATABASE_URL": f"postgres://{postgres.NAME}@127.0.0.1:{ways[0].port}/{postgres.NAME}",
        "REDIS_URL": f"redis://127.0.0.1:{ways[1].port}/0",
        "PORT": str(port),
        "SANDBOX_PORT": str(sandbox_port),
        "SANDBOX_MARKETS": "12",
        "POLL_INTERVAL_SECONDS": str(INTERVAL_SECONDS),
        "POLL_DEADLINE_SECONDS": str(INTERVAL_SECONDS - 0.1),
        "STREAM_LEASE_SECONDS": "5",
        "WORKER_CONCURRENCY": "4",
        "ALLOW_PRIVATE_EXCHANGE_URLS": "on",
        "METRICS_WEBHOOK_OPEN": "on",
        "DATABASE_FOLDER": str(database.place.folder),
        **settings,
    }
    with (folder / "up.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"], cwd=PROJECT, env=environ, stdout=output, stderr=output
        )
    plant = Plant(
        folder / "home", f"http://127.0.0.1:{port}", Sandbox(f"http://127.0.0.1:{sandbox_port}"), database, queue,
        ways[0], ways[1], process, environ,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or is_ready(plant), seconds=START_SECONDS)
        assert is_ready(plant), (folder / "up.log").read_text()[-3000:]
        yield plant
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)


def is_ready(plant: Plant) -> bool:
    try:
        return requests.get(f"{plant.url}/ready", timeout=5).ok
    except requests.RequestException:
        return False


def wait_until(is_so: Callable[[], bool], *, seconds: float) -> float | None:
    """How long it took; None when it was never so."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if is_so():
            return time.monotonic() - began
        time.sleep(0.3)
    return None
