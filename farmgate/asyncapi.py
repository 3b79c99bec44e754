"""The AsyncAPI document of the public events, made of the schemas and the examples."""

import json
import re
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow.openapi import OpenAPIConverter

from services.notifications.rules.feed import FEED_TYPES
from services.notifications.schemas.events import FeedEventResponse
from services.notifications.use_cases.webhooks.resend import PING
from shared.events.description import ENVELOPE, EXAMPLES, PUBLIC, Schema, example
from shared.messaging.envelope import CloudEvent, dataschema_of
from shared.messaging.topology import CURSOR_HEADER, INTEGRATOR, POSITION_HEADER

CONTENT_TYPE = "application/cloudevents+json"
_ABOUT = """\
Every event is a CloudEvent 1.0 in structured JSON. It comes at least once: drop repeats by `id`.
The events of one subject come in the order of their `sequence`.

Within a major version, which is the end of an event's type, Farmgate only adds optional fields:
ignore fields and types that you do not know. Money is whole fen (1/100 CNY), quantities are whole
grams or pieces, moments are RFC 3339 in UTC, dates are calendar dates in Asia/Shanghai. No event
contains names of people, telephone numbers or addresses.
"""


def document(schemas: dict[str, Schema]) -> dict[str, Any]:
    """Return the document, given the schemas by event type."""
    parts: dict[str, Any] = {}
    own = {type_: _embedded(schemas[type_], parts) for type_ in PUBLIC}
    envelope = _embedded(schemas[ENVELOPE], parts)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Farmgate events",
            "version": "1",
            "description": _ABOUT,
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "api": {
                "host": "{host}",
                "protocol": "https",
                "description": "The gateway of the deployment, or `farmgate up` by http.",
                "variables": {"host": {"default": "127.0.0.1:8000"}},
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            },
            "broker": {
                "host": "{host}",
                "protocol": "amqps",
                "description": "RabbitMQ of the deployment; its operator gives user and password.",
                "variables": {"host": {"default": "localhost:5671"}},
                "security": [{"$ref": "#/components/securitySchemes/user"}],
            },
        },
        "channels": {"feed": _feed(), "webhook": _webhook(), "queue": _queue()},
        "operations": {
            "sendOverHttp": {
                "action": "send",
                "channel": {"$ref": "#/channels/feed"},
                "summary": "Farmgate answers with the next events of the partner's feed.",
            },
            "postToWebhook": {
                "action": "send",
                "channel": {"$ref": "#/channels/webhook"},
                "summary": "Farmgate posts an event to an endpoint of the partner.",
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            },
            "sendToQueue": {
                "action": "send",
                "channel": {"$ref": "#/channels/queue"},
                "summary": "Farmgate puts an event into the partner's queue.",
                "bindings": {"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
            },
        },
        "components": {
            "messages": {
                **{type_: _message(type_, schemas[type_]) for type_ in PUBLIC},
                "feedEntry": _feed_entry(),
            },
            "schemas": {
                CloudEvent.__name__: envelope,
                **own,
                **dict(sorted(parts.items())),
                "QueueHeaders": _headers(),
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "user": {"type": "userPassword"},
            },
        },
    }


def _feed() -> dict[str, Any]:
    return {
        "address": "/api/events/v1/events",
        "description": (
            "The partner's own feed, from a cursor on: JSON, NDJSON or server-sent events, as "
            "`/api/notifications/openapi.json` describes. NDJSON has an entry on each line; a "
            "server-sent event has the entry as `data` and its cursor as `id`."
        ),
        "servers": [{"$ref": "#/servers/api"}],
        "messages": {"feedEntry": {"$ref": "#/components/messages/feedEntry"}},
    }


def _feed_entry() -> dict[str, Any]:
    events = [
        {"$ref": f"#/components/messages/{type_}/payload"}
        for type_ in PUBLIC
        if type_ in FEED_TYPES
    ]
    spec = APISpec("Farmgate events", "1", "3.1.0")
    converter = OpenAPIConverter("3.1.0", schema_name_resolver=lambda schema: "", spec=spec)
    payload = converter.schema2jsonschema(FeedEventResponse())
    payload["properties"]["event"] = {"anyOf": events}
    return {
        "name": "feedEntry",
        "summary": "An event with its place in the partner's feed.",
        "contentType": "application/json",
        "payload": {key: payload[key] for key in ("type", "properties", "required")},
    }


def _webhook() -> dict[str, Any]:
    return {
        "address": None,
        "description": (
            "The partner's own endpoint: an address that it gave with "
            "`POST /api/events/v1/endpoints`. The body is the CloudEvent, signed as Standard "
            "Webhooks says (`webhook-id`, `webhook-timestamp`, `webhook-signature`). The headers "
            "`farmgate-position` and `farmgate-cursor` are its place in the partner's feed. "
            f"A ping that the partner asks for has the type `{PING}` and is in no feed."
        ),
        "messages": _references(FEED_TYPES),
    }


def _queue() -> dict[str, Any]:
    name = f"{INTEGRATOR}{{partner}}"
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    return {
        "address": name,
        "description": (
            "The partner's own queue, once the operator has added the partner. It has the events "
            "of the partner's feed, in their order; when it is full, the rest waits in the feed."
        ),
        "servers": [{"$ref": "#/servers/broker"}],
        "parameters": {"partner": {"description": "The partner's name."}},
        "messages": _references(FEED_TYPES),
        "bindings": {"amqp": {"is": "queue", "queue": queue, "bindingVersion": "0.3.0"}},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            POSITION_HEADER: {
                "type": "integer",
                "description": (
                    "The event's position in the partner's feed: one more than that of the event "
                    "before. A larger step is a gap: read the feed behind the last cursor."
                ),
            },
            CURSOR_HEADER: {
                "type": "string",
                "description": "The cursor behind this event, for `after` of the feed.",
            },
        },
    }


def _references(types: frozenset[str]) -> dict[str, Any]:
    return {type_: {"$ref": f"#/components/messages/{type_}"} for type_ in PUBLIC if type_ in types}


def _message(type_: str, schema: Schema) -> dict[str, Any]:
    message = {
        "name": type_,
        "title": schema["title"],
        "summary": schema["description"].partition("\n\n")[0],
        "headers": {"$ref": "#/components/schemas/QueueHeaders"},
        "payload": {
            "allOf": [
                {"$ref": f"#/components/schemas/{CloudEvent.__name__}"},
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": type_},
                        "dataschema": {"const": dataschema_of(type_)},
                        "data": {"$ref": f"#/components/schemas/{type_}"},
                    },
                },
            ]
        },
    }
    if (EXAMPLES / f"{type_}.json").exists():
        message["examples"] = [{"payload": example(type_)}]
    return message


def _embedded(schema: Schema, parts: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as a component; add its parts, to which it refers, to `parts`."""
    text = re.sub(r'"#/\$defs/', '"#/components/schemas/', json.dumps(schema))
    found: dict[str, Any] = json.loads(text)
    parts.update(found.pop("$defs", {}))
    # The document is the base of its references; an `$id` would be another one.
    return {key: value for key, value in found.items() if not key.startswith("$")}
