"""What a call costs, in credits. The contract with data customers names these figures."""

from __future__ import annotations

STATUS_CALL = 25  # one call of the pipelines' status, or of the list of sources
