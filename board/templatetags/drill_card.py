"""`{% drill_card %}`: the newest drill and the form for another, on any page of the admin."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()


@register.inclusion_tag("board/drill_panel.html", takes_context=True)
def drill_card(context: dict[str, Any]) -> dict[str, Any]:
    from board.drills import views  # admin's own start-up loads this module, when nothing of the admin can be imported

    return views.panel(context["request"])
