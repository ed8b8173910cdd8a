"""The admin pages where operators say what is collected. Every change is one of `operations.commands`'s verbs."""

from operations.admin import blacklists, exchange, history, markets, workers

__all__ = ["blacklists", "exchange", "history", "markets", "workers"]
