"""Settles where the embedded servers' data, sockets and programs are, and who runs them."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from embedded.account import Account, decide, may_walk_into, nobody, open_to_others, private_folder
from embedded.lock import RefusedError
from embedded.programs import Programs, copied, find_postgres, find_valkey

SOCKET_PATH_MAX_BYTES = 100  # the kernel takes 107, and PostgreSQL adds its file name
LONGEST_SOCKET = ".s.PGSQL.5432"
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
ELSEWHERE = Path("/var/lib")
OWNER = "home"  # in the folder of the data, when it is elsewhere: whose it is
POINTER = "data-location"  # in the home: where root's data went when `nobody` cannot reach the home


@dataclass(frozen=True, slots=True)
class Site:
    folder: Path
    sockets: Path
    account: Account | None
    postgres: Programs | None
    valkey: Programs | None


def settle(home: Path, *, with_postgres: bool = True, with_valkey: bool = True, elsewhere: Path = ELSEWHERE) -> Site:
    postgres = find_postgres() if with_postgres else None
    valkey = find_valkey() if with_valkey else None
    roots = [found.root for found in (postgres, valkey) if found and found.root]
    placement = decide(
        is_root=os.geteuid() == 0,
        programs_open=all(open_to_others(root) for root in roots),
        home_open=open_to_others(home),
    )
    account = nobody() if placement.drops_root else None
    if placement.moves_data:
        _refuse_to_leave_data(home)
    folder = _moved_folder(home, elsewhere) if placement.moves_data else home
    if placement.copies_programs:
        shelf = folder if placement.moves_data or open_to_others(folder) else _moved_folder(home, elsewhere)
        postgres = copied(postgres, shelf) if postgres else None
        valkey = copied(valkey, shelf) if valkey else None
    return Site(folder, private_folder(socket_folder(folder), account), account, postgres, valkey)


def make_home(home: Path) -> Path:
    """Makes the home. Root's may be walked through (its files are private each), so that `nobody` reaches the data."""
    if not home.exists():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    owner = home.stat().st_uid
    if owner != os.geteuid():
        raise PermissionError(
            f"{home} belongs to user id {owner}, and you are {os.geteuid()}: run as that user, "
            "or choose another folder with MARKETMON_HOME=/path/to/folder"
        )
    return home


def socket_folder(folder: Path, temporary: Path | None = None) -> Path:
    """Returns the folder beside the data, unless its path is too long for a socket or would need quoting in a URL."""
    beside = folder / "run"
    if len(os.fsencode(beside / LONGEST_SOCKET)) <= SOCKET_PATH_MAX_BYTES and PLAIN_PATH.fullmatch(str(beside)):
        return beside
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return (temporary or Path(tempfile.gettempdir())) / f"marketmon-{digest}"


def _refuse_to_leave_data(home: Path) -> None:
    """Refuses a home that was closed after it was used: it must not start again with an empty database elsewhere."""
    if (home / "postgres").exists() and not (home / POINTER).exists():
        closed = " ".join(str(folder) for folder in (home, *home.parents) if not may_walk_into(folder))
        raise PermissionError(
            f"{home} holds data that its database's user can no longer reach: run `chmod o+x {closed}`, "
            "or choose another folder with MARKETMON_HOME=/path/to/folder"
        )


def _moved_folder(home: Path, elsewhere: Path) -> Path:
    """Returns the data's folder. The home remembers it: a new home gets new data, a renamed one keeps its own, and a
    copied one is refused, because its data was not copied. Raises RefusedError."""
    pointer = home / POINTER
    if not pointer.exists():
        pointer.write_text(f"{elsewhere / f'marketmon-{secrets.token_hex(6)}'}\n", encoding="utf-8")
    folder = _pointed_at(home)
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    folder.chmod(0o711)
    _claim(folder, home)
    return folder


def _claim(folder: Path, home: Path) -> None:
    """Makes the folder know its home, by number and name: the one outlives a renaming, the other a restored disk."""
    mark = folder / OWNER
    found = home.stat()
    number = f"{found.st_dev}:{found.st_ino}"
    if mark.exists():
        known, _, path = mark.read_text(encoding="utf-8").strip().partition(" ")
        owner = Path(path)
        if known != number and owner != home and _pointed_at(owner) == folder:
            raise RefusedError(
                f"{home} is a copy of {owner}, and the database of that one, in {folder}, was not copied: start "
                f"{owner}; or take a backup there and restore it here (docs/backup.md); or begin here with an empty "
                f"database: rm {home / POINTER}"
            )
    mark.write_text(f"{number} {home}\n", encoding="utf-8")


def _pointed_at(home: Path) -> Path:
    try:
        return Path((home / POINTER).read_text(encoding="utf-8").strip())
    except OSError:
        return Path()
