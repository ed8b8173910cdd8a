"""Other addresses for an exchange's own: a proxy's, or the sandbox's."""

from __future__ import annotations

from typing import Any


def rebase(urls: Any, base: str) -> Any:
    """Returns https://H/P as base/H/P, wss://H/P as ws(s)://…/H/P; ccxt looks for the host, so it stays in the path."""
    if isinstance(urls, dict):
        return {key: rebase(value, base) for key, value in urls.items()}
    if not isinstance(urls, str) or "://" not in urls:
        return urls
    scheme, rest = urls.split("://", 1)
    return f"{base.replace('http', 'ws', 1) if scheme in ('ws', 'wss') else base}/{rest}"
