"""Pages for people: clients of the services' HTTP APIs, which they call from the same origin."""

from web.app import create_app

__all__ = ["create_app"]
