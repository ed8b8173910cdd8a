"""Servers with which nothing would ever be stored are refused in a sentence, before anything is made in them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.lab.conftest import Program
from tests.sandbox_client import PROJECT, free_port


def prepare(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        cwd=PROJECT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


@pytest.fixture
def old_postgres(debian: Program) -> Iterator[str]:
    """Debian's PostgreSQL 15; it does not run as root."""
    debian("pg_ctlcluster", "postgresql-15")
    programs = Path("/usr/lib/postgresql/15/bin")
    if not programs.exists():
        pytest.skip("Debian's postgresql-15 is not here")
    folder = tempfile.mkdtemp(prefix="marketmon-old-")
    shutil.chown(folder, "nobody")
    account = {"user": "nobody", "env": {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}} if os.geteuid() == 0 else {}
    data, user = f"{folder}/data", "marketmon" if account else pwd.getpwuid(os.geteuid()).pw_name
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", user, "-A", "trust"], check=True, capture_output=True, **account
    )  # type: ignore[call-overload]
    options = f"-c listen_addresses= -k {folder}"
    control = [str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", f"{folder}/log"]
    subprocess.run([*control, "-w", "start"], check=True, capture_output=True, **account)  # type: ignore[call-overload]
    try:
        yield f"postgres://{user}@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, capture_output=True, **account)  # type: ignore[call-overload]
        shutil.rmtree(folder)


def test_an_old_postgres_is_refused(old_postgres: str) -> None:
    done = prepare(DATABASE_URL=old_postgres)

    assert done.returncode != 0
    assert "PostgreSQL 18 or newer is needed; this is 15" in done.stderr
    assert "Traceback" not in done.stderr


def test_valkey_in_cluster_mode_is_refused(debian: Program, tmp_path: Path) -> None:
    port = free_port()
    command = [debian("redis-server", "redis-server"), "--port", str(port), "--cluster-enabled", "yes"]
    running = subprocess.Popen([*command, "--dir", str(tmp_path), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as asked:
            for _ in range(50):
                try:
                    asked.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.1)
        done = prepare(REDIS_URL=f"redis://127.0.0.1:{port}/0")
    finally:
        running.terminate()
        running.wait(10)

    assert done.returncode != 0
    assert "cluster mode cannot be used" in done.stderr
