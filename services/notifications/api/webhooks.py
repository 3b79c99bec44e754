"""Routes for partners' webhook endpoints: one's own; for operators those of all partners."""

from typing import Any
from uuid import UUID

from services.notifications.api.events import OPERATE, partner_of
from services.notifications.batch import NotificationsBatch
from services.notifications.models import Delivery, Endpoint
from services.notifications.push import signing
from services.notifications.push.networks import networks_of
from services.notifications.rules.webhooks import check_url
from services.notifications.schemas import webhooks as schemas
from services.notifications.use_cases import webhooks as use_cases
from shared.runtime.errors import Misconfigured, Unavailable
from shared.runtime.paging import Page
from shared.web import Blueprint, caller, idempotent, reading, scope, settings, transaction

blp = Blueprint(
    "webhooks",
    __name__,
    url_prefix="/api/events/v1",
    description="Webhooks: your events, posted to your server and signed.",
)

ENDPOINT = "/endpoints/<uuid:endpoint_id>"


class WebhooksUnavailable(Unavailable):
    """Raised when the operator has not set the key that secrets are derived from."""


@blp.get("/endpoints")
@scope("events:read")
@blp.arguments(schemas.ListEndpointsRequest, location="query")
@blp.response(200, schemas.EndpointPage)
def list_endpoints(query: dict[str, Any]) -> Page[Endpoint]:
    """List your webhook endpoints, the oldest first; operators see those of all partners."""
    if not caller().may(OPERATE):
        query["partner"] = partner_of(query.get("partner"))
    with reading() as session:
        return use_cases.list_endpoints(session, **query)


@blp.post("/endpoints")
@scope("events:manage")
@idempotent
@blp.arguments(schemas.CreateEndpointRequest)
@blp.response(201, schemas.NewEndpointResponse)
@blp.doc(responses={410: "GONE"})
def create_endpoint(endpoint_in: dict[str, Any]) -> dict[str, Any]:
    """Create a webhook endpoint; the answer has the secret that signs its messages.

    Farmgate posts each event of your subscription to it as the CloudEvent that `GET /events` has,
    signed as Standard Webhooks says (`webhook-id`, `webhook-timestamp`, `webhook-signature`). The
    header `farmgate-cursor` has the place behind the event in your feed. Answer 2xx within 15
    seconds once the event is stored. An event may come twice with the same `webhook-id`. Those of
    one subject come in order, and the next one only after a 2xx for the one before.

    Everything else is a failure, redirects too, and is tried again for three days with growing
    pauses, then daily as long as the feed keeps the event. `Retry-After` is obeyed. 410 disables
    the endpoint.
    """
    key = _key()
    partner = partner_of(endpoint_in.pop("partner", None))
    _check_url(endpoint_in)
    with transaction(NotificationsBatch) as batch:
        endpoint = use_cases.create_endpoint(
            batch, partner, caller().subject, **{"after": None} | endpoint_in
        )
    secret = signing.secret_of(key, endpoint.id, endpoint.secret_number)
    return {**_columns(endpoint), "subscription": {"partner": partner}, "secret": secret}


@blp.get(ENDPOINT)
@scope("events:read")
@blp.response(200, schemas.EndpointResponse)
def get_endpoint(endpoint_id: UUID) -> Endpoint:
    """Show an endpoint."""
    with reading() as session:
        endpoint = use_cases.read_endpoint(session, endpoint_id, _own())
        return _with_partner(endpoint)


@blp.patch(ENDPOINT)
@scope("events:manage")
@blp.arguments(schemas.ChangeEndpointRequest)
@blp.response(200, schemas.EndpointResponse)
def change_endpoint(changes: dict[str, Any], endpoint_id: UUID) -> Endpoint:
    """Change an endpoint's URL, event types or description.

    Deliveries that wait go to the new URL. New event types concern events that come later.
    """
    _check_url(changes)
    with transaction(NotificationsBatch) as batch:
        return _with_partner(
            use_cases.change_endpoint(batch, endpoint_id, _own(), caller().subject, changes)
        )


@blp.delete(ENDPOINT)
@scope("events:manage")
@blp.response(204)
def delete_endpoint(endpoint_id: UUID) -> None:
    """Delete an endpoint with its log; the feed itself stays."""
    with transaction(NotificationsBatch) as batch:
        use_cases.delete_endpoint(batch, endpoint_id, _own(), caller().subject)


@blp.post(f"{ENDPOINT}/suspend")
@scope("events:manage")
@idempotent
@blp.response(200, schemas.EndpointResponse)
def suspend_endpoint(endpoint_id: UUID) -> Endpoint:
    """Stop deliveries until `resume`; nothing is left out, as long as the feed keeps the events."""
    with transaction(NotificationsBatch) as batch:
        return _with_partner(
            use_cases.suspend_endpoint(batch, endpoint_id, _own(), caller().subject)
        )


@blp.post(f"{ENDPOINT}/resume")
@scope("events:manage")
@idempotent
@blp.response(200, schemas.EndpointResponse)
def resume_endpoint(endpoint_id: UUID) -> Endpoint:
    """Go on where deliveries stopped, also after 410; retries that wait are made at once."""
    with transaction(NotificationsBatch) as batch:
        return _with_partner(
            use_cases.resume_endpoint(batch, endpoint_id, _own(), caller().subject)
        )


@blp.get(f"{ENDPOINT}/secret")
@scope("events:manage")
@blp.response(200, schemas.SecretResponse)
def get_secret(endpoint_id: UUID) -> dict[str, Any]:
    """Show the secret that signs an endpoint's messages; that it was shown is recorded."""
    key = _key()
    with transaction(NotificationsBatch) as batch:
        return _secret(
            key, use_cases.record_shown_secret(batch, endpoint_id, _own(), caller().subject)
        )


@blp.post(f"{ENDPOINT}/secret/rotate")
@scope("events:manage")
@idempotent
@blp.arguments(schemas.RotateSecretRequest)
@blp.response(200, schemas.SecretResponse)
def rotate_secret(rotate_in: dict[str, Any], endpoint_id: UUID) -> dict[str, Any]:
    """Give an endpoint a new secret; for some hours each message is signed with both.

    The library accepts a message if one of its signatures is right, so put the new secret into
    your receiver within these hours.
    """
    key = _key()
    with transaction(NotificationsBatch) as batch:
        return _secret(
            key,
            use_cases.rotate_secret(batch, endpoint_id, _own(), caller().subject, **rotate_in),
        )


@blp.post(f"{ENDPOINT}/ping")
@scope("events:manage")
@idempotent
@blp.response(202, schemas.DeliveryResponse)
def ping_endpoint(endpoint_id: UUID) -> Delivery:
    """Send a signed `notifications.ping.v1`, once, also to a suspended endpoint.

    It is sent within a second or two; read the delivery to see the answer.
    """
    with transaction(NotificationsBatch) as batch:
        return use_cases.ping(batch, endpoint_id, _own(), caller().subject)


@blp.get(f"{ENDPOINT}/deliveries")
@scope("events:read")
@blp.arguments(schemas.ListDeliveriesRequest, location="query")
@blp.response(200, schemas.DeliveryPage)
def list_deliveries(query: dict[str, Any], endpoint_id: UUID) -> Page[Delivery]:
    """List an endpoint's deliveries, newest first, with their attempts and the next one."""
    with reading() as session:
        return use_cases.list_deliveries(session, endpoint_id, _own(), **query)


@blp.get(f"{ENDPOINT}/deliveries/<uuid:delivery_id>")
@scope("events:read")
@blp.response(200, schemas.DeliveryResponse)
def get_delivery(endpoint_id: UUID, delivery_id: UUID) -> Delivery:
    """Show one delivery."""
    with reading() as session:
        return use_cases.read_delivery(session, endpoint_id, delivery_id, _own())


@blp.post(f"{ENDPOINT}/deliveries/<uuid:delivery_id>/resend")
@scope("events:manage")
@idempotent
@blp.response(202, schemas.DeliveryResponse)
@blp.doc(responses={410: "GONE"})
def resend_delivery(endpoint_id: UUID, delivery_id: UUID) -> Delivery:
    """Send one event once more, or make its next attempt now."""
    with transaction(NotificationsBatch) as batch:
        return use_cases.resend_delivery(batch, endpoint_id, _own(), caller().subject, delivery_id)


@blp.post(f"{ENDPOINT}/resend")
@scope("events:manage")
@idempotent
@blp.arguments(schemas.ResendRequest)
@blp.response(202, schemas.ResendResponse)
@blp.doc(responses={410: "GONE"})
def resend_range(resend_in: dict[str, Any], endpoint_id: UUID) -> Endpoint:
    """Send a range of events once more, or all since a cursor or a moment.

    Events from before the endpoint was created are sent, too. New events go on meanwhile.
    """
    with transaction(NotificationsBatch) as batch:
        return use_cases.resend_range(batch, endpoint_id, _own(), caller().subject, **resend_in)


def _own() -> str | None:
    """Return whose endpoints the caller may reach; None: everybody's."""
    return None if caller().may(OPERATE) else caller().subject


def _key() -> bytes:
    try:
        return signing.key_of(settings())
    except Misconfigured as error:
        raise WebhooksUnavailable(f"Webhooks are not set up here. {error.detail}") from error


def _check_url(given: dict[str, Any]) -> None:
    if "url" in given:
        check_url(given["url"], private_networks=bool(networks_of(settings().environment)))


def _with_partner(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its partner loaded, before its session ends."""
    assert endpoint.subscription.partner
    return endpoint


def _secret(key: bytes, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint_id": endpoint.id,
        "secret": signing.secret_of(key, endpoint.id, endpoint.secret_number),
        "previous_secret_until": endpoint.previous_until,
    }


def _columns(endpoint: Endpoint) -> dict[str, Any]:
    return {each.key: getattr(endpoint, each.key) for each in Endpoint.__table__.columns}
