"""The limits of statements: each session has them, whichever process it is of. Standard library only."""

LIMITS = {"statement_timeout": "10s", "lock_timeout": "3s", "idle_in_transaction_session_timeout": "30s"}
DIRECT = "marketmon.direct"  # set at the start of a session: who sees it speaks to the server itself
OPTIONS = " ".join(f"-c {name}={value}" for name, value in {**LIMITS, DIRECT: "1"}.items())
NOW = ", ".join(f"current_setting('{name}')" for name in LIMITS)  # what a session has, in SQL
