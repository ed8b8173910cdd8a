"""Settings of `up` from its environment and command line, and the processes that follow from them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded import variables
from embedded.child import Spec
from embedded.lock import RefusedError
from lib import environment, starting
from lib import home as home_files
from lib.environment import FILE_SUFFIX

READ = (
    variables.PORT,
    variables.INTERNAL_PORT,
    variables.SANDBOX_PORT,
    variables.SANDBOX,
    variables.WORKER_CONCURRENCY,
)
SERVERS = ("DATABASE_URL", "REDIS_URL")
# Processes of `up` cannot tell whose servers they are given.
ON_WITH_OUR_SERVERS = {"ALLOW_PRIVATE_ALERT_URLS", "ALLOW_PRIVATE_EXCHANGE_URLS", "METRICS_WEBHOOK_OPEN"}
THREADS_COMPLAINT = "Configuration allows spawning up to"
TOO_LATE = "task_revoked"  # a poll that the worker came too late for: the next is on its way
TABLES_FILE = "tables"  # in the home while its tables are up to date with the running release
PROBE_COMPLAINTS = ("probe_failed", "Service Unavailable: /ready")  # we ask until it is, and show what dies
ALIVE_FOLDER = "alive"
WATCHED = frozenset({"web", "worker", "beat", "pulse", "stream", "notify"})
PROGRESS_MARK = "> "  # before the lines of `prepare` that are for the reader of the terminal


@dataclass(frozen=True, slots=True)
class Settings:
    home: Path
    port: int
    sandbox_port: int | None  # None: no sandbox
    concurrency: int
    environ: Mapping[str, str]  # the caller's
    servers: Mapping[str, str]  # that are not ours to start: each one's URL, or the file that holds it
    internal_port: int | None = None  # None: no second listener

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}" if self.sandbox_port else ""


def read_settings(environ: Mapping[str, str], *, with_sandbox: bool) -> Settings:
    """Reads the caller's environment, then the operator's file; runtime.env is ours to write and is never read here."""
    home = home_files.home_dir(environ)
    merged = {**home_files.read_env_file(home / home_files.SECRETS_FILE), **environ}
    reading = environment.read(READ, merged)
    if reading.faults:
        raise RefusedError("\n".join(reading.faults))
    value = reading.values
    port = value["PORT"]
    sandbox_port = value["SANDBOX_PORT"] if with_sandbox and value["SANDBOX"] else None
    ports = {"PORT": port, "INTERNAL_PORT": value["INTERNAL_PORT"], "SANDBOX_PORT": sandbox_port}
    if same := [name for name, number in ports.items() if number and [*ports.values()].count(number) > 1]:
        raise RefusedError(f"{' and '.join(same)} are both {ports[same[0]]}: choose another number for one of them")
    return Settings(
        home=home,
        port=port,
        internal_port=value["INTERNAL_PORT"],
        sandbox_port=sandbox_port,
        concurrency=value["WORKER_CONCURRENCY"],
        environ=environ,
        servers={name: url for name in SERVERS if (url := merged.get(name) or merged.get(f"{name}{FILE_SUFFIX}"))},
    )


def childrens_environment(settings: Settings, urls: Mapping[str, str], *, first_run: bool) -> dict[str, str]:
    """Returns the environment without the generated secrets: every process reads them from the home."""
    environ = {
        **_without_libpqs(settings.environ, has_our_database="DATABASE_URL" in urls),
        **urls,
        "MARKETMON_HOME": str(settings.home),
        "PORT": str(settings.port),
        "SANDBOX": "on" if settings.sandbox_port else "off",
        "PYTHONUNBUFFERED": "1",
    }
    environ |= {"FIRST_RUN": "1"} if first_run else {}
    chosen = home_files.read_env_file(settings.home / home_files.SECRETS_FILE)
    for name in ON_WITH_OUR_SERVERS - chosen.keys():
        environ.setdefault(name, "1" if "DATABASE_URL" in urls else "0")
    if settings.sandbox_port:
        environ |= {"SANDBOX_PORT": str(settings.sandbox_port)}
        environ.setdefault("SANDBOX_URL", settings.sandbox_url)
    return environ


def _without_libpqs(environ: Mapping[str, str], *, has_our_database: bool) -> dict[str, str]:
    """Returns the environment without PGPORT, PGSERVICE and the like, which name somebody's other database."""
    return {name: value for name, value in environ.items() if not (has_our_database and name.startswith("PG"))}


def application_specs(settings: Settings, environ: Mapping[str, str]) -> dict[str, Spec]:
    """Returns our own processes, by name, in the order they start."""
    celery = [sys.executable, "-m", "celery", "-A", "marketmon"]
    queues = "poll,default"
    commands = {
        "sandbox": [sys.executable, "-m", "sandbox"],
        "prepare": [sys.executable, "manage.py", "prepare"],
        "web": web_command(settings.port),
        "worker": [
            *(*celery, "worker", "--pool", "prefork", "--concurrency", str(settings.concurrency)),
            *("--queues", queues, "--without-gossip", "--without-mingle", "--loglevel", "INFO"),
        ],
        "beat": [*celery, "beat", "--pidfile=", "--loglevel", "INFO"],
        "pulse": [sys.executable, "manage.py", "pulse"],
        "stream": [sys.executable, "manage.py", "stream"],
        "notify": [sys.executable, "manage.py", "notify"],
    }
    grace_seconds = {"worker": 10.0}
    complaints = {"web": (THREADS_COMPLAINT, *PROBE_COMPLAINTS), "worker": (TOO_LATE,)}
    # `prepare` has just run Django's checks; Celery's worker would run them again, before the first poll.
    more = {"worker": {"CELERY_SKIP_CHECKS": "1"}, "web": {starting.AWAITED: str(settings.home / TABLES_FILE)}}
    return {
        name: Spec(
            name=name,
            command=command,
            environ={**environ, **more.get(name, {}), **_sign_of_life(settings, name), "MARKETMON_PROCESS": name},
            cwd=home_files.PROJECT_DIR,
            stop=((signal.SIGTERM, grace_seconds.get(name, 5.0)),),
            restarts=name != "prepare",
            expected_complaints=complaints.get(name, ()),
            sign_of_life=settings.home / ALIVE_FOLDER / name if name in WATCHED else None,
        )
        for name, command in commands.items()
    }


def _sign_of_life(settings: Settings, name: str) -> dict[str, str]:
    return {"LIVENESS_FILE": str(settings.home / ALIVE_FOLDER / name)} if name in WATCHED else {}


def web_command(port: int) -> list[str]:
    """Returns the command of one process that buffers slow clients; a thread per running request, the rest waits."""
    flags = {
        "--interface": "rsgi",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--http": "1",  # without TLS nobody speaks HTTP/2, and its headers have no time limit
        "--http1-header-read-timeout": "10000",
        "--workers-kill-timeout": "4",
        "--log-level": "warning",
    }
    flat = [part for pair in flags.items() for part in pair]
    return [sys.executable, "-m", "granian", *flat, "--no-ws", "marketmon.rsgi:application"]
