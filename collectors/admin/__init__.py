"""Admin pages about collection; the workers' page, which has commands, is in `operations.admin`."""

from collectors.admin import archived, collection, history_imports, market_data

__all__ = ["archived", "collection", "history_imports", "market_data"]
