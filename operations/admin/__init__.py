"""Where operators say what is collected. Every change of that state is one of `operations.commands`'s verbs."""

from operations.admin import blacklists, exchange, history, markets, workers

__all__ = ["blacklists", "exchange", "history", "markets", "workers"]
