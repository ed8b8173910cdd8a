"""An exchange's buttons: for each verb its words and its dialog; `operations/permissions.py` has who may press it.

Unfold runs an action on GET unless it has a dialog; then GET shows the form, and only POST gets to the verb.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from operations import permissions
from operations.admin.acting import carry_out
from operations.admin.dialogs import BlacklistForm, ConfirmForm, DisableForm, RemoveForm, details
from web.admin import back_to_page

CHANGELIST = "admin:exchanges_exchange_changelist"
# The admin's word for a permission: `change` asks `has_change_permission`. Named in full, it would be looked up in the
# database by checks that run before there is one.
MAY = {permissions.CHANGE_EXCHANGE: "change", permissions.REMOVE_EXCHANGE: "remove"}
RESUMES = "Collection resumes with the next interval."


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a button and its dialog; `submit` is the dialog's own button."""

    label: str
    icon: str
    title: str
    description: str
    submit: str


def button(
    verb: str,
    words: Words,
    *,
    form_class: type[BaseDialogForm] = ConfirmForm,
    is_dangerous: bool = False,
) -> Callable[..., HttpResponse]:
    """Returns a button that carries out the verb of that name for the exchange of the page."""

    def press(self: Any, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        is_done = carry_out(request, verb, object_id, **details(form))
        return back_to_page(request, CHANGELIST, is_gone=is_done and verb == "remove")

    press.__name__ = verb
    permission = MAY[permissions.needed_for(verb)]
    return dialog(words, form_class=form_class, permission=permission, is_dangerous=is_dangerous)(press)


def dialog(
    words: Words,
    *,
    form_class: type[BaseDialogForm] = ConfirmForm,
    permission: str = "change",
    is_dangerous: bool = False,
) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Returns a decorator that puts a button with a dialog before the method."""
    decorate: Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]] = action(
        description=words.label,
        icon=words.icon,
        **({"variant": ActionVariant.DANGER} if is_dangerous else {}),
        permissions=[permission],
        dialog={
            "title": words.title,
            "description": words.description,
            "form_class": form_class,
            "form_submit_text": words.submit,
        },
    )
    return decorate


blacklist = button(
    "blacklist",
    Words(
        "Blacklist…", "block", "Blacklist this exchange",
        "Collection stops: no request reaches it until it is lifted.", "Blacklist",
    ),
    form_class=BlacklistForm,
    is_dangerous=True,
)  # fmt: skip
lift = button(
    "lift",
    Words("Lift blacklist…", "lock_open", "Take this exchange off the blacklist", RESUMES, "Lift"),
)
enable = button("enable", Words("Enable…", "play_arrow", "Enable this exchange", RESUMES, "Enable"))
disable = button(
    "disable",
    Words(
        "Disable…", "pause", "Disable this exchange", "Collection stops until it is enabled again.", "Disable"
    ),
    form_class=DisableForm,
)  # fmt: skip
RESTART = Words(
    "Restart worker…", "restart_alt", "Restart this exchange's worker",
    "Errors and pauses are forgotten; a run under way is replaced, never doubled.", "Restart",
)  # fmt: skip
restart = button("restart", RESTART)
ask_again = button(
    "ask_again",
    Words(
        "Ask again now…", "alarm_off", "Ask this exchange again now",
        "The pause that it asked for, or that failures have made, ends. It may ask for a longer one.", "Ask again",
    ),
)  # fmt: skip
remove = button(
    "remove",
    Words(
        "Remove…", "delete", "Remove this exchange",
        "It is collected and shown no more. Its history stays, and adding it brings it back.", "Remove",
    ),
    form_class=RemoveForm,
    is_dangerous=True,
)  # fmt: skip

LIFT_MARKET = Words(
    "Lift blacklist…", "lock_open", "Take this market off the blacklist",
    "Its quotes are stored again with the next poll.", "Lift",
)  # fmt: skip
REFRESH = Words(
    "Refresh…", "sync", "Refresh this exchange",
    "Its markets and abilities are loaded anew, its worker starts again, and it is checked.", "Refresh",
)  # fmt: skip
REFRESH_ALL = Words(
    "Refresh all…", "sync", "Refresh every collected exchange",
    "Markets and abilities are loaded anew, workers start again, and each exchange is checked.", "Refresh all",
)  # fmt: skip
