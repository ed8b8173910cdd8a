"""The one screen that a newcomer reads."""

from __future__ import annotations

from pathlib import Path

from embedded.settings import Settings
from embedded.site import Site
from lib import home as home_files

LABEL_WIDTH = 11


def running(settings: Settings, site: Site | None, *, seconds: float, show_password: bool) -> str:
    rows = {
        "Open": f"{settings.url}/admin/",
        **_login(settings.home, show_password=show_password),
        "API": f"{settings.url}/api/docs/",
        "Data": _data(settings.home, site),
        "Logs": str(settings.home / "logs"),
        "Simulated": _simulated(settings),
        "Stop": "Ctrl-C",
    }
    lines = [f"  {label:<{LABEL_WIDTH}}{text}" for label, text in rows.items()]
    return "\n".join(["", f"  marketmon is running ({seconds:.1f} s)", "", *lines, ""])


def _login(home: Path, *, show_password: bool) -> dict[str, str]:
    path = home / home_files.SECRETS_FILE
    secret = home_files.read_env_file(path)
    user = secret.get("ADMIN_USERNAME", "admin")
    if show_password:
        return {"Login": user, "Password": f"{secret.get('ADMIN_PASSWORD', '')}   (kept in {path})"}
    if not secret.get("ADMIN_PASSWORD"):
        return {"Login": "as somebody of the database that was restored"}
    return {"Login": f"{user}, with the password in {path}"}


def _data(home: Path, site: Site | None) -> str:
    if site is None:
        return "on the servers of DATABASE_URL and REDIS_URL"
    if site.folder != home:
        return f"{site.folder}   (the database may not run as root, and its user cannot reach {home})"
    return str(site.folder)


def _simulated(settings: Settings) -> str:
    if not settings.sandbox_port:
        return "nothing: the sandbox is off"
    return f"all exchanges of a first run are simulated by the sandbox at {settings.sandbox_url}; no real market data"
