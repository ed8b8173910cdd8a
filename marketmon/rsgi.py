"""The entry point that granian serves: Django's WSGI application behind our gateway, and INTERNAL_PORT beside it."""

from lib import process, starting
from marketmon.wsgi import application as wsgi
from web import silent_connections
from web.internal import PublicGateway

starting.wait()
process.begin("web")
silent_connections.watch()
application = PublicGateway(wsgi)
