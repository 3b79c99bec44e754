"""Every route says who may call it: a scope, or everybody. What says nothing is refused."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from shared.runtime import api_keys
from shared.runtime.auth import bearer_of
from shared.runtime.belonging import EVERYWHERE, OtherSites
from shared.runtime.callers import ANYBODY, Caller
from shared.runtime.errors import Forbidden, NotFound
from shared.web.state import state

View = TypeVar("View", bound=Callable[..., Any])

#: The attribute in which a view's declarations stand; decorators copy it to what they wrap it in.
NOTES = "farmgate_notes"
#: An entry of it: the scope that the view needs, or `EVERYBODY`.
ACCESS = "access"
#: The entry of a view that narrows its answer to the sites that its caller belongs to.
BY_SITE = "by_site"
EVERYBODY = ""
#: The entry of a view that takes an Idempotency-Key.
IDEMPOTENT = "idempotent"
#: The entry of a view that takes larger bodies than others: bytes, and seconds.
LARGE = "large"


class MissingScope(Forbidden):
    """Raised when the token does not hold the scope that the route needs."""


class UndeclaredRoute(Forbidden):
    """Raised when a route says neither a scope nor that it is public: a fault of ours."""


class UnknownAddress(NotFound):
    """Raised when a path holds what no route's could."""


def scope(name: str, *, by_site: bool = False) -> Callable[[View], View]:
    """Let only those through whose token holds the scope `name`.

    Write it directly under the route, so that it is seen by whoever reads the route. Callers who
    belong to sites are let through only `by_site`, the view's word that it looks at
    `caller().sites`, or with one of the scopes `EVERYWHERE`.
    """

    def declare(view: View) -> View:
        return note(_declare(view, name), BY_SITE, by_site)

    return declare


def large(most_bytes: int, seconds: float) -> Callable[[View], View]:
    """Let a route take a body of up to `most_bytes` and work on it for `seconds`.

    Others keep to what the settings say.
    """

    def declare(view: View) -> View:
        return note(view, LARGE, (most_bytes, seconds))

    return declare


def public(view: View) -> View:
    """Let everybody through; `caller()` is nobody then, even if a token was sent."""
    return _declare(view, EVERYBODY)


def _declare(view: View, needed: str) -> View:
    return note(view, ACCESS, needed)


def note(view: View, name: str, value: Any) -> View:
    """Let a view declare something; a decorator on top of it must wrap with `functools.wraps`."""
    setattr(view, NOTES, {**notes_of(view), name: value})
    return view


def notes_of(view: Callable[..., Any]) -> Mapping[str, Any]:
    """Return what a view declares: entries by the names above."""
    notes: Mapping[str, Any] = getattr(view, NOTES, {})
    return notes


def declared(view: Callable[..., Any]) -> str | None:
    """Return the scope a view needs, `EVERYBODY`, or None when it declares nothing."""
    found: str | None = notes_of(view).get(ACCESS)
    return found


def check_declarations(app: Flask) -> None:
    """Refuse to start with a route that does not say who may call it.

    Raises:
        TypeError: a view has neither `@scope(…)` nor `@public`.
    """
    undeclared = [name for name, view in app.view_functions.items() if declared(view) is None]
    if undeclared:
        raise TypeError(f"neither @scope nor @public: {', '.join(sorted(undeclared))}")


def check_access() -> None:
    """Refuse the present request unless its route's declaration lets it through.

    Raises:
        InvalidToken: there is no token, or it does not count.
        MissingScope: the token does not hold the route's scope.
        OtherSites: the caller belongs to sites, and the route does not look at them.
        UndeclaredRoute: the route was added after the start, without a declaration.
    """
    g.caller = ANYBODY
    if "\x00" in request.path:
        raise UnknownAddress("No path holds a NUL character.")
    if request.endpoint is None:
        return  # no such route, or not with this method: the router answers
    view = current_app.view_functions[request.endpoint]
    if LARGE in (notes := notes_of(view)):
        request.max_content_length, g.seconds = notes[LARGE]
    needed = declared(view)
    if needed is None:
        raise UndeclaredRoute("This route is closed: it does not say who may call it.")
    if needed == EVERYBODY:
        return
    g.caller = _bearer(bearer_of(request.headers.get("Authorization")))
    if not g.caller.may(needed):
        raise MissingScope(f"This needs a token with the scope {needed}.", scope=needed)
    if g.caller.sites is not None and not notes.get(BY_SITE) and needed not in EVERYWHERE:
        raise OtherSites("Your token is bound to sites; ask somebody whose token is bound to none.")


def _bearer(token: str) -> Caller:
    if not token.startswith(api_keys.PREFIX):
        return state().verifier.caller(token)
    # Looked up each time: a key that was revoked a second ago must not count any more.
    here = state().database
    with here.limit("request"), here.readers() as session:
        return api_keys.caller_of(session, token)


def caller() -> Caller:
    """Return who sent the present request; on public routes, nobody."""
    found = g.get("caller", ANYBODY)
    assert isinstance(found, Caller)
    return found
