"""The entry point that granian serves: Django's WSGI application behind our gateway, and INTERNAL_PORT beside it."""

from lib import process
from marketmon.wsgi import application as wsgi
from web.internal import PublicGateway

process.begin("web")
application = PublicGateway(wsgi)
