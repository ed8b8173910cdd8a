"""`{{ title|our_name }}`: gives a list the same name in the sidebar, on its page and in the browser's tab."""

from __future__ import annotations

from django import template
from django.db.models import Model
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from web.navigation import LIBRARIES_WORDS

register = template.Library()


@register.filter
def our_name(title: object) -> str:
    """Returns our name; rows, and titles that a page has written itself, stay as they are: `luno` is not Luno."""
    if isinstance(title, Model | SafeString):
        return str(title)
    words = str(title)
    return capfirst(LIBRARIES_WORDS.get(words.lower(), words))
