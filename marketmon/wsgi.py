"""The WSGI entry point that granian serves."""

import io
import os
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")

django = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Django reads a body by its announced length; one in chunks has none until it was read."""
    if "HTTP_TRANSFER_ENCODING" in environ and not environ.get("CONTENT_LENGTH"):
        body = _read(environ["wsgi.input"])
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    return django(environ, start_response)


def _read(stream: Any) -> bytes:
    """Up to one byte more than Django accepts, which then refuses it."""
    body = bytearray()
    while part := stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1 - len(body)):
        body += part
    return bytes(body)
