"""Brings the system up step by step, watches it, takes it down."""

from __future__ import annotations

import contextlib
import http.client
import signal
import time
from collections.abc import Callable
from pathlib import Path

from embedded import ballast, postgres, screen, site, valkey
from embedded.child import Child, Spec
from embedded.lock import UNCLEAN_STOP_PATIENCE_SECONDS, HomeLock, require_free_port
from embedded.output import Terminal, notice
from embedded.process_group import ProcessGroup
from embedded.settings import (
    ALIVE_FOLDER,
    PROGRESS_MARK,
    TABLES_FILE,
    Settings,
    application_specs,
    childrens_environment,
)
from lib import home as home_files

SERVER_PATIENCE_SECONDS = 60.0
SERVER_PAUSE_MAX_SECONDS = 2.0
WEB_PATIENCE_SECONDS = 60.0
PREPARED_FILE = "prepared"  # absent until a run with the sandbox has made its exchanges, however often interrupted
STOP_STAGES = (
    ["prepare"],
    ["beat", "pulse"],
    ["worker", "stream"],
    ["web", "notify"],
    ["sandbox"],
    ["valkey"],
    ["postgres"],
)


class StartError(Exception):
    """A failure to bring the system up; the message names the step and where to look."""


class Supervisor:
    def __init__(self, settings: Settings, terminal: Terminal) -> None:
        self._settings = settings
        self._terminal = terminal
        self._site: site.Site | None = None
        self._data_lock: HomeLock | None = None
        self._ballast_due_at = 0.0
        self._urls: dict[str, str] = {}

    def run(self) -> int:
        home = site.make_home(self._settings.home)
        lock = HomeLock(home)
        lock.acquire(self._settings.url)
        try:
            self._require_ports(patience=UNCLEAN_STOP_PATIENCE_SECONDS if lock.last_stop_was_unclean else 0.0)
            return self._run_locked(home)
        finally:
            if self._data_lock is not None:
                self._data_lock.release()
            lock.release()

    def _require_ports(self, *, patience: float) -> None:
        require_free_port("PORT", self._settings.port, patience_seconds=patience)
        if self._settings.internal_port:
            require_free_port("INTERNAL_PORT", self._settings.internal_port, patience_seconds=patience)
        if self._settings.sandbox_port:
            require_free_port("SANDBOX_PORT", self._settings.sandbox_port, patience_seconds=patience)

    def _run_locked(self, home: Path) -> int:
        secrets_are_new = home_files.ensure_secrets(home)
        logs = home / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        (home / ALIVE_FOLDER).mkdir(mode=0o700, exist_ok=True)
        (home / "static").mkdir(mode=0o755, exist_ok=True)  # whitenoise looks for it at every start
        with ProcessGroup(logs, self._terminal) as nursery:
            try:
                self._bring_up(nursery, secrets_are_new=secrets_are_new)
                while not nursery.stop_requests:
                    nursery.turn()
                    self._keep_ballast()
            except StartError as error:
                if not nursery.stop_requests:
                    self._terminal.complain(f"\n{error}")
                    self._take_down(nursery)
                    return 1
            self._take_down(nursery)
        return 0

    def _keep_ballast(self) -> None:
        """Looks once a minute whether there is room again for what was given up."""
        if self._site is not None and self._site.postgres and time.monotonic() >= self._ballast_due_at:
            self._ballast_due_at = time.monotonic() + ballast.LOOK_SECONDS
            ballast.keep(self._site.folder)

    def _take_down(self, nursery: ProcessGroup) -> None:
        self._terminal.show("")
        self._terminal.progress("stopping ... (Ctrl-C again: at once)")
        nursery.stop(*STOP_STAGES)
        self._terminal.progress("stopped; everything collected so far is kept")

    def _bring_up(self, nursery: ProcessGroup, *, secrets_are_new: bool) -> None:
        self._terminal.progress(f"starting marketmon in {self._settings.home}")
        self._start_servers(nursery)
        first_run = bool(self._settings.sandbox_port) and not (self._settings.home / PREPARED_FILE).exists()
        environ = childrens_environment(self._settings, self._urls, first_run=first_run)
        # What commands in another terminal must know.
        sandbox = {"SANDBOX_URL": environ["SANDBOX_URL"]} if self._settings.sandbox_port else {}
        home_files.write_runtime(self._settings.home, {**self._urls, **sandbox})
        specs = application_specs(self._settings, environ)
        if self._settings.sandbox_port:
            nursery.start(specs["sandbox"])
        # The web process spends its first seconds importing, for which it needs no tables; then it waits for them.
        tables = self._settings.home / TABLES_FILE
        tables.unlink(missing_ok=True)
        nursery.start(specs["web"])
        self._prepare(nursery, specs["prepare"])
        tables.touch()
        if first_run:
            (self._settings.home / PREPARED_FILE).touch()
        for name in ("worker", "beat", "pulse", "stream", "notify"):
            nursery.start(specs[name])
        self._await_web(nursery)
        self._terminal.show(
            screen.running(
                self._settings, self._site, seconds=self._terminal.elapsed_seconds, show_password=secrets_are_new
            )
        )

    def _start_servers(self, nursery: ProcessGroup) -> None:
        """Starts the embedded servers, unless the caller named servers of their own."""
        given = self._settings.servers
        if len(given) == 2:
            return
        self._site = site.settle(
            self._settings.home, with_postgres="DATABASE_URL" not in given, with_valkey="REDIS_URL" not in given
        )
        self._lock_data(self._site)
        if self._site.valkey:
            self._start_valkey(nursery, valkey.Valkey(self._site, self._site.valkey.binary, valkey.LAPTOP))
        if self._site.postgres:
            self._start_postgres(nursery, postgres.Postgres(self._site, self._site.postgres.binary, postgres.LAPTOP))

    def _lock_data(self, place: site.Site) -> None:
        """Locks the folder of the data where that is not the home, which is locked already. Raises RefusedError."""
        if place.folder != self._settings.home:
            lock = HomeLock(place.folder)
            lock.acquire(self._settings.url)
            self._data_lock = lock

    def _start_valkey(self, nursery: ProcessGroup, server: valkey.Valkey) -> None:
        server.prepare()
        child = nursery.start(valkey_spec(server))
        self._await_server(nursery, child, lambda: server.is_ready(), "Valkey")
        self._terminal.progress("Valkey is up (queues and cached answers)")
        self._urls["REDIS_URL"] = server.url

    def _start_postgres(self, nursery: ProcessGroup, server: postgres.Postgres) -> None:
        is_new = server.prepare()
        child = nursery.start(postgres_spec(server, before_start=lambda: self._clear_the_way(server)))
        self._await_server(nursery, child, lambda: server.is_ready(child.pid or 0), "PostgreSQL")
        self._terminal.progress(f"PostgreSQL is up ({'new database' if is_new else 'existing database'})")
        self._urls["DATABASE_URL"] = server.url
        self._urls["DATABASE_FOLDER"] = str(server.site.folder)

    def _clear_the_way(self, server: postgres.Postgres) -> None:
        server.clear_the_way()
        if ballast.give_up(server.site.folder):
            self._terminal.complain(
                f"the disk of {server.site.folder} is full: {ballast.BYTES // 1024**2} MB that were kept for this are "
                "given up, so that the database can start. Make room now: it will be full again"
            )

    def _await_server(self, nursery: ProcessGroup, child: Child, is_ready: Callable[[], bool], title: str) -> None:
        if not nursery.turn_until(is_ready, seconds=SERVER_PATIENCE_SECONDS):
            raise StartError(f"{title} did not come up: {_last_complaint(child)}\nsee {child.log.path}")

    def _prepare(self, nursery: ProcessGroup, spec: Spec) -> None:
        """Prepares tables, schedule, first-run data and first administrator; the child's plain lines are progress."""
        child = nursery.start(spec, on_line=self._show_progress)
        code = nursery.finish(child)
        if code != 0:
            raise StartError(
                f"preparing the database ended with code {code}: {_last_complaint(child)}\nsee {child.log.path}"
            )
        nursery.forget(spec.name)

    def _show_progress(self, line: str) -> None:
        if line.startswith(PROGRESS_MARK):
            self._terminal.progress(line.removeprefix(PROGRESS_MARK))
        else:
            self._terminal.child_line("prepare", line)

    def _await_web(self, nursery: ProcessGroup) -> None:
        if nursery.turn_until(self._is_ready, seconds=WEB_PATIENCE_SECONDS, every=0.2):
            return
        if nursery.stop_requests:
            raise StartError("stopped while starting")
        self._terminal.complain(f"{self._settings.url}/ready does not answer 200 yet; see {self._settings.home}/logs")

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._settings.port, timeout=1.0)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def postgres_spec(server: postgres.Postgres, *, before_start: Callable[[], object] | None = None) -> Spec:
    return Spec(
        name="postgres",
        command=server.command(),
        environ=postgres.ENVIRON,
        cwd=Path("/"),
        stop=((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0)),
        hurry=((signal.SIGQUIT, 5.0),),
        account=server.site.account,
        death_signal=signal.SIGINT,
        before_start=before_start or server.clear_the_way,
        pause_max_seconds=SERVER_PAUSE_MAX_SECONDS,
    )


def valkey_spec(server: valkey.Valkey) -> Spec:
    return Spec(
        name="valkey",
        command=server.command(),
        environ=postgres.ENVIRON,
        cwd=Path("/"),
        stop=((signal.SIGTERM, 10.0),),
        hurry=((signal.SIGTERM, 3.0),),
        account=server.site.account,
        before_start=server.clear_the_way,
        pause_max_seconds=SERVER_PAUSE_MAX_SECONDS,
        expected_complaints=("overcommit",),
    )


def _last_complaint(child: Child) -> str:
    with contextlib.suppress(OSError):
        lines = child.log.path.read_text(encoding="utf-8", errors="replace").splitlines()
        complaints = [text for line in lines if (text := notice(line))]
        return next(iter([*complaints[-1:], *lines[-1:]]), "it printed nothing")
    return "its log cannot be read"
