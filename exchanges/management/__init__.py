"""The operator's verbs. API, admin and command line call these and nothing else.

Each is one transaction. What must be known outside the database (beat's rows, running cycles) follows its commit.
"""

from exchanges.management.expiry import lift_expired
from exchanges.management.fence import NotFound, Refused, Stopped
from exchanges.management.market_verbs import (
    blacklist_bad_markets,
    blacklist_market,
    blacklisted_markets,
    lift_market,
)
from exchanges.management.verbs import blacklist, bring_back, create, disable, enable, lift, remove, restart

__all__ = [
    "NotFound",
    "Refused",
    "Stopped",
    "blacklist",
    "blacklist_bad_markets",
    "blacklist_market",
    "blacklisted_markets",
    "bring_back",
    "create",
    "disable",
    "enable",
    "lift",
    "lift_expired",
    "lift_market",
    "remove",
    "restart",
]
