"""`manage.py sync`: brings schedule and partitions up to date; safe to run at every start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand

from access.demo import ensure_demo_keys
from collectors.history import partitions
from collectors.polling import schedule
from exchanges.models import SANDBOX_PLACEHOLDER, Exchange
from lib import clock, home
from operations import commands

NAMED = 4  # beyond that nobody reads on

# By exchange id: the display name. What `make run` collects; the sandbox plays a few more.
SIMULATED = {
    "binance": "Binance",
    "binanceusdm": "Binance USDⓈ-M",
    "chainlink": "Chainlink",
    "coinbase": "Coinbase",
    "hyperliquid": "Hyperliquid",
    "kalshi": "Kalshi",
    "kraken": "Kraken",
    "luno": "Luno",
    "polymarket": "Polymarket",
    "quidax": "Quidax",
    "valr": "VALR",
}

# A few large pairs show what there is besides tickers.
SIMULATED_DEPTH: dict[str, dict[str, Any]] = {
    "binance": {
        "books": {"markets": ["BTC/USDT", "ETH/USDT", "SOL/USDT"], "levels": 10, "seconds": 5},
        "trades": {"markets": ["BTC/USDT", "ETH/USDT", "SOL/USDT"], "seconds": 5},
    },
    "coinbase": {
        "books": {"markets": ["BTC/USD", "ETH/USD"], "levels": 10, "seconds": 10},
        "trades": {"markets": ["BTC/USD", "ETH/USD"], "seconds": 10},
    },
    "binanceusdm": {"funding": {"seconds": 30}},
}


def in_words(names: Sequence[str]) -> str:
    """Returns a few names, and how many there are of more."""
    return ", ".join(names) if len(names) <= NAMED else f"{len(names)} entries are new or changed"


class Command(BaseCommand):
    help = (
        "Brings beat's schedule and the day partitions up to date; "
        f"on a first run adds the {len(SIMULATED)} simulated exchanges."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        partitions.ensure(now)
        is_first = os.environ.get("FIRST_RUN") == "1"
        has_sandbox = bool(os.environ.get("SANDBOX_URL"))
        if is_first and has_sandbox and not Exchange.objects.exists():
            for exchange_id, name in SIMULATED.items():
                depth = SIMULATED_DEPTH.get(exchange_id, {})
                commands.create(
                    exchange_id, by="first run", now=now, base_url=SANDBOX_PLACEHOLDER, name=name, depth=depth
                )
        if changed := schedule.sync(now=now):
            self.stdout.write(f"schedule: {in_words(changed)}")
        if is_first and (path := ensure_demo_keys(home.home_dir(), now=now)):
            self.stdout.write(f"API keys to try out, one for each plan: {path}")
