"""The entry point that granian serves: Django's WSGI application behind our gateway, and INTERNAL_PORT beside it."""

from marketmon.wsgi import application as wsgi
from web.internal import PublicGateway

application = PublicGateway(wsgi)
