"""`cachewright.asgi:app`, for gunicorn, granian and other servers: the application that the environment describes."""

from cachewright.integrations.served import build_app

app = build_app()
