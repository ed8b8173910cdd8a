"""The operator's verbs. API, admin and command line call these and nothing else.

Each is one transaction. What must be known outside the database (beat's rows, running cycles) follows its commit.
"""

from exchanges.management.verbs import Refused, Stopped, blacklist, create, disable, enable, lift, restart

__all__ = ["Refused", "Stopped", "blacklist", "create", "disable", "enable", "lift", "restart"]
