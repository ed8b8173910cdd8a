"""Embedded PostgreSQL: the wheel's binaries, one unix socket in a private folder, no TCP."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded import process
from embedded.account import private_folder
from embedded.lock import refuse_to_end
from embedded.site import Site

MAJOR = "18"
NAME = "marketmon"  # of the database and of its owner
PORT = "5432"  # a part of the socket's name
ORPHAN_PATIENCE_SECONDS = 20.0
LAPTOP: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "synchronous_commit": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
}
THROWAWAY: Mapping[str, str] = {
    **LAPTOP,
    "shared_buffers": "64MB",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
}
# No locale, no time zone and no PGPORT from whoever starts us.
ENVIRON: Mapping[str, str] = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
INITDB = (
    f"-U {NAME} --auth-local=trust --auth-host=reject --encoding=UTF8 --locale=C --locale-provider=builtin "
    "--builtin-locale=C.UTF-8 --no-instructions"
).split()


@dataclass(frozen=True, slots=True)
class Postgres:
    site: Site
    binary: Path
    options: Mapping[str, str]

    @property
    def data(self) -> Path:
        return self.site.folder / "postgres"

    @property
    def url(self) -> str:
        return f"postgres://{NAME}@/{NAME}?host={self.site.sockets}&port={PORT}"  # else PGPORT would be asked

    def prepare(self) -> bool:
        """Makes the cluster and its database, complete or not at all; returns True when they are new."""
        version = self.data / "PG_VERSION"
        if version.exists():
            _refuse_other_version(version)
            private_folder(self.data, self.site.account)
            return False
        draft = self.site.folder / "postgres.draft"
        shutil.rmtree(draft, ignore_errors=True)
        private_folder(draft, self.site.account)
        fsync = self.options.get("fsync", "on")
        haste = ["--no-sync"] if fsync == "off" else []
        initdb = str(self.binary.with_name("initdb"))
        process.run([initdb, "-D", str(draft), *INITDB, *haste], account=self.site.account)
        single = [str(self.binary), "--single", "-D", str(draft), "-c", f"fsync={fsync}", "postgres"]
        process.run(single, account=self.site.account, stdin=f"CREATE DATABASE {NAME}\n")
        draft.rename(self.data)
        return True

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "port": PORT,
            "unix_socket_directories": str(self.site.sockets),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.options,
        }
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        return [str(self.binary), "-D", str(self.data), *flags]

    def clear_the_way(self) -> None:
        """Stops a server that outlived its supervisor; drops a pid file whose number now belongs to a stranger.

        A file with a dead pid stays: PostgreSQL itself checks that none of its old backends is left. Raises
        RefusedError when another supervisor looks after the server.
        """
        pid = self._pid_in_file()
        if pid is None or not process.is_alive(pid):
            return
        if process.works_in(pid, self.data) or str(self.data) in process.arguments(pid):
            refuse_to_end(pid, "PostgreSQL", self.data)
            process.end(pid, (signal.SIGINT, signal.SIGQUIT), patience_seconds=ORPHAN_PATIENCE_SECONDS)
        else:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def is_ready(self, pid: int) -> bool:
        """Says whether the server is ready, which the eighth line of the pid file tells."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _pid_in_file(self) -> int | None:
        lines = self._pid_file_lines()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []


def _refuse_other_version(version: Path) -> None:
    found = version.read_text(encoding="utf-8").strip()
    if found != MAJOR:
        raise RuntimeError(
            f"{version.parent} was written by PostgreSQL {found}, and PostgreSQL {MAJOR} is installed: dump it with "
            "the old release and load it into a new MARKETMON_HOME"
        )
