"""Who may do what: the permission that each operators' verb needs, in the admin, on the board and by API alike.

Which role has which permission is written in the board's migrations (`ACT` and `LOOK`).
"""

from __future__ import annotations

SEE_EXCHANGE = "exchanges.view_exchange"
ADD_EXCHANGE = "exchanges.add_exchange"
CHANGE_EXCHANGE = "exchanges.change_exchange"
REMOVE_EXCHANGE = "exchanges.delete_exchange"  # nothing is deleted: the history stays
CHANGE_MARKET = "exchanges.change_market"

OF_VERB = {
    "add": ADD_EXCHANGE,
    "remove": REMOVE_EXCHANGE,
    "blacklist market": CHANGE_MARKET,
    "lift market": CHANGE_MARKET,
}


UNDONE_BY = {"add": "remove", "remove": "add"}  # the opposite of any other verb needs what the verb needs


def needed_for(verb: str) -> str:
    """Returns the permission for a verb; all that are not named here, such as `blacklist`, change an exchange."""
    return OF_VERB.get(verb, CHANGE_EXCHANGE)


def needed_to_undo(verb: str) -> str:
    """Returns the permission for taking a verb back: the one that its opposite needs."""
    return needed_for(UNDONE_BY.get(verb, verb))
