from tests.status.conftest import (  # noqa: F401
    clean_valkey,
    client,
    key_of,
    noon,
    tiers,
    venue,
)
