"""The folder where this installation keeps its state, and the environment that follows from it.

Standard library only: settings.py calls it before Django exists.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from lib import private_file
from lib.environment import FILE_SUFFIX

PROJECT_DIR = Path(__file__).resolve().parent.parent
SECRETS_FILE = "secrets.env"
RUNTIME_FILE = "runtime.env"

# Names that load_environment() took from files, so that `up` can tell them from what its caller exported.
names_from_files: set[str] = set()


def home_dir(environ: Mapping[str, str] | None = None) -> Path:
    configured = (os.environ if environ is None else environ).get("MARKETMON_HOME", "")
    return Path(configured).expanduser().absolute() if configured else PROJECT_DIR / ".marketmon"


def load_environment(environ: MutableMapping[str, str] | None = None) -> None:
    """Loads the environment: the process's wins, then what the operator may edit, then what the supervisor wrote.

    A secret whose file is named (SECRET_KEY_FILE, say) is set by that.
    """
    environ = os.environ if environ is None else environ
    home = home_dir(environ)
    for name in (SECRETS_FILE, RUNTIME_FILE):
        for key, value in read_env_file(home / name).items():
            if key not in environ and not environ.get(key + FILE_SUFFIX):
                environ[key] = value
                if environ is os.environ:
                    names_from_files.add(key)


def callers_environment() -> dict[str, str]:
    """Returns the environment without what load_environment() added to it."""
    return {key: value for key, value in os.environ.items() if key not in names_from_files}


def read_env_file(path: Path) -> dict[str, str]:
    """Reads `NAME=value` lines; a file that is absent, or that this user may not read, is an empty one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def ensure_secrets(home: Path) -> bool:
    """Generates what must never be a default; returns True when they are new."""
    lines = {
        "SECRET_KEY": secrets.token_urlsafe(64),
        "ADMIN_API_KEY": secrets.token_urlsafe(36),
        "ADMIN_USERNAME": "admin",
        "ADMIN_PASSWORD": secrets.token_urlsafe(15),
    }
    return private_file.write(home / SECRETS_FILE, _env_lines(lines), overwrite=False)


def write_runtime(home: Path, values: Mapping[str, str]) -> None:
    private_file.write(home / RUNTIME_FILE, _env_lines(values))


def _env_lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())
