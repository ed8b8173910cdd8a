"""ccxt without its 200 modules: an exchange's class is imported when it is asked for.

`import ccxt.async_support` costs 0.5 s and 80 MB per process; one exchange needs a third of that. Three stand-in
packages answer the names that ccxt's own `__init__` files would. CCXT_LAZY=0 switches this off.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

from feeds.base import Unsupported

PACKAGES = ("ccxt", "ccxt.async_support", "ccxt.pro", "ccxt.prediction")
# Where the names that ccxt's __init__ re-exports really live.
SHARED = ("ccxt.base.errors", "ccxt.base.decimal_to_precision", "ccxt.base.precise")
BASES = {
    "ccxt": "ccxt.base.exchange",
    "ccxt.async_support": "ccxt.async_support.base.exchange",
    "ccxt.pro": "ccxt.async_support.base.exchange",
    "ccxt.prediction": "ccxt.async_support.base.exchange",
}

# Our ids carry no colon. What the documents call polymarket and kalshi are the prediction venues; what ccxt calls
# polymarket is that company's perpetuals.
RENAMED = {
    "kalshi": ("ccxt.prediction", "kalshi"),
    "polymarket": ("ccxt.prediction", "polymarket"),
    "polymarket_perpetuals": ("ccxt.async_support", "polymarket"),
}


# Ids that ccxt has dropped, and under which it speaks to the same venue now.
RENAMED_BY_CCXT = {
    "gateio": "gate", "huobi": "htx", "huobipro": "htx", "okex": "okx", "okex3": "okx", "okex5": "okx",
    "bitfinex2": "bitfinex", "hitbtc2": "hitbtc", "hitbtc3": "hitbtc", "coinbasepro": "coinbaseexchange",
    "gdax": "coinbaseexchange", "mexc3": "mexc", "poloniexfutures": "poloniex", "bitpanda": "onetrading",
}  # fmt: skip


class UnknownCcxtId(Unsupported, KeyError):
    """An id that ccxt does not speak; the message names the id of today where there is one."""

    def __str__(self) -> str:
        return str(self.args[0])


def unknown(exchange_id: str) -> UnknownCcxtId:
    """Returns the error that says in words why this id cannot be opened."""
    now_called = RENAMED_BY_CCXT.get(exchange_id)
    if now_called is not None:
        return UnknownCcxtId(f"{exchange_id:.50} is called {now_called} now: add that id, and remove this one")
    return UnknownCcxtId(f"there is no exchange {exchange_id:.50} in ccxt (any more)")


def client_class(exchange_id: str) -> type[Any]:
    """Returns the async client class of a known id ("kraken", "prediction:kalshi"). Raises UnknownExchange, which is
    a KeyError, for any other text."""
    if exchange_id not in known_classes():
        raise unknown(exchange_id)
    package, name = known_classes()[exchange_id]
    install()
    return _class_in(f"{package}.{name}", name)


def pro_class(exchange_id: str) -> type[Any]:
    """Returns the class that also speaks websockets; raises KeyError for an id that ccxt.pro does not list."""
    if exchange_id not in listed_in("ccxt.pro"):
        raise KeyError(exchange_id)
    install()
    return _class_in(f"ccxt.pro.{exchange_id}", exchange_id)


@cache
def known_classes() -> dict[str, tuple[str, str]]:
    """Returns package and class name of every id ccxt speaks, read from ccxt's source without running it."""
    ids = {name: ("ccxt.async_support", name) for name in listed_in("ccxt")}
    ids |= {f"prediction:{name}": ("ccxt.prediction", name) for name in listed_in("ccxt.prediction")}
    return ids | RENAMED


@cache
def listed_in(package: str) -> tuple[str, ...]:
    """Returns the literal list `exchanges` in a package's __init__.py."""
    tree = ast.parse(_init_file(package).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "exchanges" for t in node.targets):
            return tuple(ast.literal_eval(node.value))
    raise ImportError(f"{package} lists no exchanges; its layout changed: set CCXT_LAZY=0")


def install() -> None:
    """Puts the stand-ins in place, once, unless somebody imported ccxt before or CCXT_LAZY=0."""
    if "ccxt" in sys.modules or os.environ.get("CCXT_LAZY", "1") == "0":
        return
    for package in PACKAGES:
        sys.modules[package] = _StandIn(package)
        parent, _, name = package.rpartition(".")
        if parent:
            types.ModuleType.__setattr__(sys.modules[parent], name, sys.modules[package])


class _StandIn(types.ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        folder = _init_file(name).parent
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        self.__path__ = [str(folder)]
        self.__spec__ = spec
        self.__file__ = spec.origin
        self.__package__ = name

    def __setattr__(self, name: str, value: object) -> None:
        # importlib binds submodules on their parent; ccxt's __init__ would have bound the class over it
        if isinstance(value, types.ModuleType) and isinstance(getattr(value, name, None), type):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name == "exchanges":
            return list(listed_in(self.__name__))
        if name.startswith("__"):
            raise AttributeError(name)
        if not name[0].isupper() and name in listed_in(self.__name__):
            return _class_in(f"{self.__name__}.{name}", name)
        for home in (BASES[self.__name__], *SHARED):
            module = importlib.import_module(home)
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"{self.__name__} has no {name}")


def _class_in(module_name: str, name: str) -> type[Any]:
    found: type[Any] = getattr(importlib.import_module(module_name), name)
    return found


@cache
def _init_file(package: str) -> Path:
    """Returns the file's path, put together: find_spec of a subpackage would import its parent."""
    root = importlib.util.find_spec("ccxt") if "ccxt" not in sys.modules else sys.modules["ccxt"].__spec__
    if root is None or root.origin is None:
        raise ImportError("ccxt is not installed")
    return Path(root.origin).parent.joinpath(*package.split(".")[1:]) / "__init__.py"
