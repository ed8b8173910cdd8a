"""Settles which user runs the embedded servers, and where their files may live. PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A choice: drop to nobody or not; copy the programs or not; keep the data in the home or elsewhere."""

    drops_root: bool
    copies_programs: bool
    moves_data: bool


def decide(*, is_root: bool, programs_open: bool, home_open: bool) -> Placement:
    """Returns the placement: `nobody` exists everywhere, so no user is made; no chmod lets it in (think of /root)."""
    return Placement(
        drops_root=is_root, copies_programs=is_root and not programs_open, moves_data=is_root and not home_open
    )


def open_to_others(path: Path) -> bool:
    """Says whether any user may walk to `path` and into it."""
    return all(may_walk_into(folder) for folder in (path, *path.parents))


def may_walk_into(folder: Path) -> bool:
    """Says whether any user who has got as far as this folder may walk into it."""
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def private_folder(path: Path, account: Account | None) -> Path:
    """Makes a 0700 folder of the servers' user. Raises PermissionError for one that a stranger made (in /tmp)."""
    path.mkdir(mode=0o700, exist_ok=True)
    owner = account or Account(os.geteuid(), os.getegid())
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {owner.uid, os.geteuid()}:
        raise PermissionError(f"{path} belongs to somebody else; remove it and start again")
    if account and (found.st_uid, found.st_gid) != (account.uid, account.gid):
        _give(path, account)
    path.chmod(0o700)
    return path


def _give(folder: Path, account: Account) -> None:
    """Gives everything below to the account: the same home may have been used by a plain user before."""
    for root, _, files in os.walk(folder):
        for name in (root, *(os.path.join(root, file) for file in files)):
            os.chown(name, account.uid, account.gid, follow_symlinks=False)


def copy_for_others(source: Path, target: Path) -> None:
    """Makes a readable copy of `source` at `target`, complete or absent."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copytree(source, draft, symlinks=True)
    for root, folders, files in os.walk(draft):
        for name in (*folders, *files):
            path = Path(root, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    draft.chmod(0o755)
    draft.rename(target)
