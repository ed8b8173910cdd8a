"""The rate limiter: counts requests that leave for an exchange over all processes, before each one leaves.

Whoever asks an exchange opens a gate and gives it to the feed as `may_call`.
"""

from collectors.rate_limits.gate import RequestGate, lift_pause, open_dial_gate, open_gate
from collectors.rules.rate_limits import Priority

__all__ = ["Priority", "RequestGate", "lift_pause", "open_dial_gate", "open_gate"]
