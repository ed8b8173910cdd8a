"""`{{ title|our_name }}`: a list has the same name in the sidebar, on its page and in the browser's tab."""

from __future__ import annotations

from django import template
from django.utils.text import capfirst

from marketmon.navigation import LIBRARIES_WORDS

register = template.Library()


@register.filter
def our_name(title: object) -> str:
    words = str(title)
    return capfirst(LIBRARIES_WORDS.get(words.lower(), words))
