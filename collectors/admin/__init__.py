"""Admin pages about collection; the workers' page, which has commands, is in `operations.admin`."""

from collectors.admin import collection, market_data

__all__ = ["collection", "market_data"]
