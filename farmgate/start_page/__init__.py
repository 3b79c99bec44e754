"""The start page: what runs, whether it is ready, and where its documentation is."""

from farmgate.start_page.app import create_app

__all__ = ["create_app"]
