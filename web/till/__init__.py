"""The till: a page that sells at a station's counter, with and without a connection."""

from web.till.pages import blueprint

__all__ = ["blueprint"]
