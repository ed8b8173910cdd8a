"""The entry point that granian serves: Django's WSGI application behind our gateway."""

from marketmon.wsgi import application as wsgi
from web.gateway import Gateway

application = Gateway(wsgi)
