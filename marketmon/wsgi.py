"""The WSGI application; `rsgi.py` is what granian serves."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketmon.settings")

application = get_wsgi_application()
