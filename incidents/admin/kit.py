"""What these admin pages share: dialogs, filters by words, and pages whose changes are in the audit log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from incidents import configuration
from lib import clock
from lib.admin_pages import PageAdmin, find_row_id
from web.admin import word_filter


def row_number(object_id: str) -> int:
    """Returns the number of a row in an address. Raises Http404."""
    number = find_row_id(object_id)
    if number is None:
        raise Http404
    return number


class SendDialog(BaseDialogForm):
    """A form with nothing to fill in: its hidden field proves that the dialog was confirmed."""


def dialog(
    title: str, submit: str, form: type[BaseDialogForm], *, icon: str, label: str, permission: str = "change"
) -> Callable[..., Any]:
    """Makes an action of a detail page that asks before it acts."""
    return action(  # type: ignore[no-any-return]
        description=label,
        icon=icon,
        permissions=[permission],
        dialog={"title": title, "description": "", "form_class": form, "form_submit_text": submit},
    )


def words_filter(name: str, words: Any) -> Any:
    return word_filter(
        name, [(str(word), str(word)) for word in words], parameter=name,
        narrow=lambda rows, word: rows.filter(**{name: word}),
    )  # fmt: skip


class AuditedAdmin(PageAdmin):
    """Rows that operators make; each change is in the audit log."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        self._record(request, f"{'change' if change else 'add'} {self.opts.verbose_name}", str(obj))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._record(request, f"delete {self.opts.verbose_name}", str(obj))
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self._record(request, f"delete {self.opts.verbose_name}", str(row))
        super().delete_queryset(request, queryset)

    def _record(self, request: HttpRequest, verb: str, what: str) -> None:
        configuration.record(verb, by=request.user.get_username(), now=clock.now(), what=what, origin="admin")
