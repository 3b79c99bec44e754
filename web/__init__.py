"""Pages for people. They are clients of the services' HTTP APIs, on the same origin."""

from web.app import create_app

__all__ = ["create_app"]
