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
from exchanges.management.onboarding import (
    Invalid,
    Refreshed,
    Unknown,
    Unsuitable,
    add,
    check,
    configure,
    refresh,
    require_known,
)
from exchanges.management.preview import Preview, preview_stop, preview_stop_of
from exchanges.management.undo import can_undo, undo
from exchanges.management.verbs import (
    blacklist,
    blacklist_ahead,
    bring_back,
    create,
    disable,
    enable,
    lift,
    remove,
    restart,
)

__all__ = [
    "Invalid",
    "NotFound",
    "Preview",
    "Refreshed",
    "Refused",
    "Stopped",
    "Unknown",
    "Unsuitable",
    "add",
    "blacklist",
    "blacklist_ahead",
    "blacklist_bad_markets",
    "blacklist_market",
    "blacklisted_markets",
    "bring_back",
    "can_undo",
    "check",
    "configure",
    "create",
    "disable",
    "enable",
    "lift",
    "lift_expired",
    "lift_market",
    "preview_stop",
    "preview_stop_of",
    "refresh",
    "remove",
    "require_known",
    "restart",
    "undo",
]
