"""Every route says who may call it: a scope, or everybody. What says nothing is refused."""

from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from typing import Any, TypeVar

from flask import current_app, g, request

from shared.auth import ANYBODY, Caller, bearer_of
from shared.errors import Forbidden
from shared.web.state import state

View = TypeVar("View", bound=Callable[..., Any])

#: Attribute of a view: the scope it needs, or "" when it is public.
ATTRIBUTE = "_farmgate_scope"
#: OpenAPI's name of the bearer token.
SECURITY = "bearer"


class MissingScope(Forbidden):
    """Raised when the token does not carry the scope that the route needs."""


class UndeclaredRoute(Forbidden):
    """Raised when a route says neither a scope nor that it is public: a fault of ours."""


def scope(name: str) -> Callable[[View], View]:
    """Let only callers whose token carries the scope `name` through."""
    return _declare(name, [{SECURITY: [name]}])


def public(view: View) -> View:
    """Let everybody through."""
    return _declare("", [])(view)


def _declare(name: str, security: list[dict[str, list[str]]]) -> Callable[[View], View]:
    def decorate(view: View) -> View:
        @wraps(view)
        def declared(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        setattr(declared, ATTRIBUTE, name)
        apidoc = deepcopy(getattr(declared, "_apidoc", {}))
        apidoc.setdefault("manual_doc", {})["security"] = security
        declared._apidoc = apidoc  # type: ignore[attr-defined]
        return declared  # type: ignore[return-value]

    return decorate


def check_access() -> None:
    """Refuse the present request unless its route's declaration lets it through.

    Raises:
        Unauthorized, MissingScope, UndeclaredRoute.
    """
    g.caller = ANYBODY
    if request.endpoint is None:
        return  # no such route, or not with this method: the router answers
    view = current_app.view_functions[request.endpoint]
    needed = getattr(view, ATTRIBUTE, None)
    if needed is None:
        raise UndeclaredRoute("This route is not open; tell the operator.")
    if needed == "":
        return
    g.caller = state().verifier.caller(bearer_of(request.headers.get("Authorization")))
    if not g.caller.may(needed):
        raise MissingScope(f"This needs a token with the scope {needed}.", scope=needed)


def caller() -> Caller:
    """Return who sent the present request; anonymous on public routes."""
    found = g.get("caller", ANYBODY)
    assert isinstance(found, Caller)
    return found
