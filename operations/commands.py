"""The operator's verbs. API, admin and command line call these and nothing else.

Each is one transaction. What must be known outside the database (beat's rows, runs under way) follows its commit.
"""

from operations.asking import accept_list, ask_again
from operations.blacklist_expiry import lift_expired
from operations.exchange_commands import (
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
from operations.exchange_settings import InvalidSettings, what_is_needed
from operations.market_commands import blacklist_bad_markets, blacklist_market, blacklisted_markets, lift_market
from operations.onboarding import (
    Refreshed,
    UnknownExchange,
    Unsuitable,
    add,
    check,
    configure,
    refresh,
    require_known,
)
from operations.preview import Preview, preview_stop, preview_stop_of
from operations.transitions import CommandRefused, NotFound, Stopped
from operations.undo import can_undo, undo

__all__ = [
    "CommandRefused",
    "InvalidSettings",
    "NotFound",
    "Preview",
    "Refreshed",
    "Stopped",
    "UnknownExchange",
    "Unsuitable",
    "accept_list",
    "add",
    "ask_again",
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
    "what_is_needed",
]
