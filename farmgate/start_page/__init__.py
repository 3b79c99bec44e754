"""The start page: the services, whether each is ready, and links to their documentation."""

from farmgate.start_page.app import create_app

__all__ = ["create_app"]
