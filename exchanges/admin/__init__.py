"""Where operators say what is collected. Every change of that state is one of `exchanges.management`'s verbs."""

from exchanges.admin import blacklists, exchange, history, markets, workers

__all__ = ["blacklists", "exchange", "history", "markets", "workers"]
