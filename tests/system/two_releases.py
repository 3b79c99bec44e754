"""Two releases of a small system, between which one fact got a second version.

`python -m tests.system.two_releases old|new web PORT`, `… worker orders|notifications`, or
`… topology`. The old release says a weight in grams; the new one says a quantity and its unit, and
goes on reading what the old one says. Orders weighs parcels and publishes, notifications notes the
weights as `tests.support.probe` does.
"""

import sys
from typing import Any, ClassVar
from uuid import UUID

import waitress
from marshmallow import fields
from sqlalchemy import BigInteger, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared import web
from shared.events import BY_TYPE, Fact
from shared.messaging import topology, worker
from shared.messaging.batch import Batch
from shared.messaging.envelope import Event
from shared.messaging.service import Service
from shared.runtime.config import Settings
from shared.runtime.ids import new_id
from shared.runtime.tables import NAMING
from shared.web import Blueprint, public, transaction
from tests.support import probe

GRAMS = {"g": 1, "kg": 1000}


class WeightNoted(Fact, frozen=True, kw_only=True):
    """A parcel was weighed, in grams."""

    routing_key = "orders.weight_noted.v1"
    subject = "order_id"

    order_id: UUID
    grams: int


class WeightNotedV2(Fact, frozen=True, kw_only=True):
    """A parcel was weighed, in the unit of its goods."""

    routing_key = "orders.weight_noted.v2"
    subject = "order_id"

    order_id: UUID
    quantity: int
    unit: str


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger()}


class Parcel(Base):
    """What is weighed; its events are numbered."""

    __tablename__ = "parcels"
    order_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(default=0)


class WeighRequest(web.RequestSchema):
    """A weight in kilograms."""

    kilograms = fields.Integer(strict=True, required=True)


# --- What the releases do -------------------------------------------------------------------------


def blueprint_of(release: str) -> Blueprint:
    """Return the route of a release."""
    blp = Blueprint("weights", __name__, url_prefix="/api/orders/v1", description="Weights.")

    @blp.post("/weights/<uuid:order_id>")
    @public
    @blp.arguments(WeighRequest)
    @blp.response(204)
    def weigh(told: dict[str, Any], order_id: UUID) -> None:
        """Note the weight of a parcel."""
        with transaction(Batch) as batch:
            parcel = batch.get_for_update(Parcel.order_id, order_id)
            if parcel is None:
                parcel = Parcel(order_id=order_id, version=0)
                batch.track(Parcel.order_id, parcel)
            if release == "old":
                grams = told["kilograms"] * GRAMS["kg"]
                batch.record(parcel, WeightNoted(order_id=order_id, grams=grams))
            else:
                kilograms = told["kilograms"]
                fact = WeightNotedV2(order_id=order_id, quantity=kilograms, unit="kg")
                batch.record(parcel, fact)

    return blp


def note(batch: Batch, event: Event[Any], grams: int) -> None:
    batch.session.add(
        probe.Effect(
            effect_id=new_id(),
            event_id=event.event_id,
            subject=event.subject,
            sequence=event.sequence,
            amount_fen=grams,
        )
    )


def on_weight_noted(batch: Batch, event: Event[WeightNoted]) -> None:
    note(batch, event, event.data.grams)


def on_weight_noted_v2(batch: Batch, event: Event[WeightNotedV2]) -> None:
    note(batch, event, event.data.quantity * GRAMS[event.data.unit])


SUBSCRIPTIONS = {
    "old": {WeightNoted: on_weight_noted},
    "new": {WeightNoted: on_weight_noted, WeightNotedV2: on_weight_noted_v2},
}


def main(release: str, role: str, *arguments: str) -> None:
    BY_TYPE.update({contract.routing_key: contract for contract in SUBSCRIPTIONS[release]})
    services = [Service("orders", {}), Service("notifications", SUBSCRIPTIONS[release])]
    if role == "web":
        settings = Settings.from_environment("orders")
        app = web.create_app("orders", "Orders", [blueprint_of(release)], settings)
        Base.metadata.create_all(app.extensions["farmgate"].database.engine)
        waitress.serve(app, host="127.0.0.1", port=int(arguments[0]))
    elif role == "worker":
        (service,) = (each for each in services if each.name == arguments[0])
        worker.run(service, Settings.from_environment(service.name))
    else:
        url = Settings.from_environment("orders").broker_url
        assert url is not None
        topology.declare(url, services)


if __name__ == "__main__":
    main(*sys.argv[1:])
