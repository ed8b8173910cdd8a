"""What the views of operators have in common: who may, and errors in their dialect."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from access.admin_key import AdminKeyAuthentication, MayManage, StaffSession
from operations import permissions
from operations.api.descriptions import (
    PARAMETER_MISSING,
)
from operations.api.requests import (
    EndWithAnswer,
)


class OperatorViews(ViewSet):
    """Answers those who have the admin key or are staff with the permission."""

    authentication_classes = [AdminKeyAuthentication, StaffSession]
    permission_classes = [MayManage]

    permissions: ClassVar[Mapping[str, str]] = {}  # by action, where it is not "may change exchanges"

    def permission_of(self, action: str | None) -> str:
        return self.permissions.get(action or "", permissions.CHANGE_EXCHANGE)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answers 405 to everybody where the route does not have the method; then comes the key; then all the rest."""
        if self.action is None:
            raise self._no_such_method(request)
        super().initial(request, *args, **kwargs)

    def _no_such_method(self, request: Request) -> exceptions.MethodNotAllowed:
        """Returns a 405 whose page in a browser has forms for the other methods, for those who may use them."""
        self.format_kwarg = None
        with suppress(exceptions.APIException):
            self.perform_authentication(request)
        return exceptions.MethodNotAllowed(request.method or "")

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, EndWithAnswer):
            return Response(error.body, status=error.status, headers={"Cache-Control": "no-store"})
        return super().handle_exception(error)

    @extend_schema(exclude=True)
    def missing(self, request: Request) -> Response:
        """Refuses a path without its exchange."""
        raise EndWithAnswer(400, PARAMETER_MISSING)
