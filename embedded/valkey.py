"""Embedded Valkey: one unix socket in a private folder, no TCP, an append-only file, and nothing is evicted."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedded import process
from embedded.account import private_folder
from embedded.lock import refuse_to_end
from embedded.site import Site

LAPTOP: Mapping[str, str] = {"appendonly": "yes", "appendfsync": "everysec"}
THROWAWAY: Mapping[str, str] = {"appendonly": "no"}
PING_TIMEOUT_SECONDS = 0.5
ORPHAN_PATIENCE_SECONDS = 10.0
PEER = struct.Struct("3i")  # pid, uid, gid of who listens


@dataclass(frozen=True, slots=True)
class Valkey:
    site: Site
    binary: Path
    options: Mapping[str, str]

    @property
    def data(self) -> Path:
        return self.site.folder / "valkey"

    @property
    def socket_path(self) -> Path:
        return self.site.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}?db=0"

    def prepare(self) -> None:
        private_folder(self.data, self.site.account)

    def command(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "save": "",
            "maxmemory": "256mb",
            "maxmemory-policy": "noeviction",
            **self.options,
        }
        return [str(self.binary), *(part for name, value in settings.items() for part in (f"--{name}", value))]

    def clear_the_way(self) -> None:
        """Stops a server that outlived its supervisor.

        It would append to the same file, and take the socket of the new one along when it ends. Raises RefusedError
        when another supervisor looks after it.
        """
        pid = self._listener()
        if pid:
            refuse_to_end(pid, "Valkey", self.data)
            process.end(pid, (signal.SIGTERM, signal.SIGKILL), patience_seconds=ORPHAN_PATIENCE_SECONDS)

    def _listener(self) -> int | None:
        """Returns the pid that answers at the socket; None when nobody does, or the system does not tell."""
        if not hasattr(socket, "SO_PEERCRED"):
            return None
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PING_TIMEOUT_SECONDS)
            connection.connect(str(self.socket_path))
            told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER.size)
            return int(PEER.unpack(told)[0])
        return None

    def is_ready(self) -> bool:
        """Says whether Valkey answers PONG: it also answers while it loads its file, but not with PONG."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PING_TIMEOUT_SECONDS)
            connection.connect(str(self.socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False
