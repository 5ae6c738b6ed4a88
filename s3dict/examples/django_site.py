"""A Django site in one file, whose cache and sessions are in a Dict.

Run it with ``python -m s3dict.examples.django_site --port 8000``, and once more on another port with the same
``S3DICT_*`` variables: both count the same visits, and a session that began at one goes on at the other.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any
from wsgiref.simple_server import make_server

from .bucket import example_bucket

try:
    from django.conf import settings
    from django.core.cache import cache
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.urls import path
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed: pip install 's3-shared-dict[frameworks,local]'")


def visits(request: Any) -> JsonResponse:
    """Count all visits, atomically, and those of this session."""
    cache.add("visits", 0, timeout=None)
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"all": cache.incr("visits"), "yours": request.session["visits"]})


urlpatterns = [path("", visits)]

if __name__ == "__main__":
    parser = ArgumentParser(description="A Django site whose cache and sessions are in a Dict")
    parser.add_argument("--port", type=int, default=8000)
    port = parser.parse_args().port
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        CACHES={"default": {"BACKEND": "s3dict.integrations.django.S3DictCache", "LOCATION": "django-site"}},
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="an example",  # noqa: S106 (it signs nothing here)
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
    )
    application: Any = get_wsgi_application()
    with example_bucket() as bucket, make_server("127.0.0.1", port, application) as server:
        print(f"http://127.0.0.1:{server.server_port}/ over {bucket}", flush=True)
        server.serve_forever()
