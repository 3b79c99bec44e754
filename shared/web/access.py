"""Access control: every route declares its scope or is public; an undeclared route is closed."""

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

#: The attribute of a view that holds its declarations; `functools.wraps` copies it to the wrapper.
DECLARATIONS = "farmgate_declarations"
#: The scope that the view needs, or `EVERYBODY`.
ACCESS = "access"
#: Whether the view limits its answer to the caller's sites.
BY_SITE = "by_site"
EVERYBODY = ""
#: Whether a public view authenticates the callers that send a token.
OPTIONAL_TOKEN = "optional_token"
#: Whether the view needs an Idempotency-Key.
IDEMPOTENT = "idempotent"
#: The view's own limits: bytes of a body, and seconds.
LARGE = "large"


class MissingScope(Forbidden):
    """Raised when the caller does not have the route's scope."""


class UndeclaredRoute(Forbidden):
    """Raised when a route has no declaration: a programming error."""


class UnknownAddress(NotFound):
    """Raised when a path contains a character that no route can contain."""


def scope(name: str, *, by_site: bool = False) -> Callable[[View], View]:
    """Require the scope `name` for a view.

    Write it directly under the route, where readers look for it. `by_site` declares that the view
    filters by `caller().sites`; without it, callers who belong to sites are refused, unless the
    scope is in `EVERYWHERE`.
    """

    def decorate(view: View) -> View:
        return declare(declare(view, ACCESS, name), BY_SITE, by_site)

    return decorate


def large(most_bytes: int, seconds: float) -> Callable[[View], View]:
    """Allow a view a body of up to `most_bytes`, and `seconds` of work.

    The settings define the limits of all other views.
    """

    def decorate(view: View) -> View:
        return declare(view, LARGE, (most_bytes, seconds))

    return decorate


def public(view: View) -> View:
    """Make a view public; `caller()` is anonymous, even if the request has a token."""
    return declare(view, ACCESS, EVERYBODY)


def optional_token(view: View) -> View:
    """Make a view public, with `caller()` authenticated if the request has a token.

    For a view that shows some callers more than everybody.
    """
    return declare(public(view), OPTIONAL_TOKEN, True)


def declare(view: View, name: str, value: Any) -> View:
    """Add a declaration to a view; decorators above it must use `functools.wraps`."""
    setattr(view, DECLARATIONS, {**declarations_of(view), name: value})
    return view


def declarations_of(view: Callable[..., Any]) -> Mapping[str, Any]:
    """Return a view's declarations by the names above."""
    declarations: Mapping[str, Any] = getattr(view, DECLARATIONS, {})
    return declarations


def scope_of(view: Callable[..., Any]) -> str | None:
    """Return the scope that a view needs, `EVERYBODY`, or None without a declaration."""
    found: str | None = declarations_of(view).get(ACCESS)
    return found


def check_declarations(app: Flask) -> None:
    """Refuse to start with an undeclared route.

    Raises:
        TypeError: a view has neither `@scope(…)` nor `@public`.
    """
    undeclared = [name for name, view in app.view_functions.items() if scope_of(view) is None]
    if undeclared:
        raise TypeError(f"neither @scope nor @public: {', '.join(sorted(undeclared))}")


def check_access() -> None:
    """Refuse the current request unless its route's declaration allows the caller.

    Raises:
        InvalidToken: the token is invalid, or there is none and the route is not public.
        MissingScope: the caller does not have the route's scope.
        OtherSites: the caller belongs to sites, and the route does not filter by site.
        UndeclaredRoute: the route was added after the start, without a declaration.
    """
    g.caller = ANYBODY
    if "\x00" in request.path:
        raise UnknownAddress("A path cannot contain a NUL character.")
    if request.endpoint is None:
        return  # no such route, or not with this method: the router answers
    view = current_app.view_functions[request.endpoint]
    if LARGE in (declarations := declarations_of(view)):
        request.max_content_length, g.seconds = declarations[LARGE]
    needed = scope_of(view)
    if needed is None:
        raise UndeclaredRoute("This route is closed: it has no declaration of access.")
    header = request.headers.get("Authorization")
    if needed == EVERYBODY:
        if header is not None and declarations.get(OPTIONAL_TOKEN):
            g.caller = _authenticate(bearer_of(header))
        return
    g.caller = _authenticate(bearer_of(header))
    if not g.caller.may(needed):
        raise MissingScope(f"This needs a token with the scope {needed}.", scope=needed)
    if g.caller.sites is not None and not declarations.get(BY_SITE) and needed not in EVERYWHERE:
        raise OtherSites("Your token is limited to sites; this needs a token without that limit.")


def _authenticate(token: str) -> Caller:
    if not token.startswith(api_keys.PREFIX):
        return state().verifier.caller(token)
    # Looked up each time: a revocation must take effect at once.
    here = state().database
    with here.limit("request"), here.readers() as session:
        return api_keys.caller_of(session, token)


def caller() -> Caller:
    """Return the caller of the current request; `ANYBODY` if the route did not authenticate it."""
    found = g.get("caller", ANYBODY)
    assert isinstance(found, Caller)
    return found
