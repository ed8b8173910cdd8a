"""The OpenAPI description, made for one caller at a time."""

from __future__ import annotations

import threading
from typing import Any

from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

# drf-spectacular keeps the view it describes on the class that describes it: two at once end each other's with a 500.
_one_at_a_time = threading.Lock()


class SchemaView(SpectacularAPIView):
    def _get_schema_response(self, request: Request) -> Response:
        with _one_at_a_time:
            answer: Any = super()._get_schema_response(request)  # type: ignore[no-untyped-call]
            return answer  # type: ignore[no-any-return]
