"""Sites, producers, goods and prices."""

from datetime import date
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from shared.events.base import (
    Amount,
    Channel,
    Fact,
    Fen,
    Moment,
    Names,
    Part,
    Quantity,
    SiteLevel,
    Unit,
)


class SiteOpened(Fact, frozen=True, kw_only=True):
    """A site of the network (centre, county, township or village) is open from now on."""

    routing_key = "logistics.site_opened.v1"
    subject = "site_id"

    site_id: UUID
    code: str
    level: SiteLevel
    parent_id: UUID | None
    names: Names


class SiteClosed(Fact, frozen=True, kw_only=True):
    """A site no longer accepts orders, parcels or stock."""

    routing_key = "logistics.site_closed.v1"
    subject = "site_id"

    site_id: UUID


class EnterpriseContactGiven(Fact, frozen=True, kw_only=True):
    """An enterprise gave or changed its telephone number and language."""

    routing_key = "catalog.enterprise_contact_given.v1"
    subject = "enterprise_id"
    public = False

    enterprise_id: UUID
    name: str
    phone: str | None
    language: str


class ListedVariant(Part, frozen=True, kw_only=True):
    """One variant of a product, such as a grade in a pack size."""

    variant_id: UUID
    sku: str
    grade: str
    unit: Unit
    pack_quantity: Quantity
    storage: str | None
    #: Days of shelf life that a lot must still have when it reaches the buyer.
    min_life_days: int


class ProductListed(Fact, frozen=True, kw_only=True):
    """A product with its variants is on sale; published again, with all variants, on a change."""

    routing_key = "catalog.product_listed.v1"
    subject = "product_id"

    product_id: UUID
    code: str
    names: Names
    perishable: bool
    variants: list[ListedVariant]


class ProductWithdrawn(Fact, frozen=True, kw_only=True):
    """A product and all its variants are no longer on sale."""

    routing_key = "catalog.product_withdrawn.v1"
    subject = "product_id"

    product_id: UUID


class PriceChanged(Fact, frozen=True, kw_only=True):
    """From `valid_from` on, a variant costs `price_fen` per `price_unit` in one channel.

    The price in force is the latest one that has begun and not ended: after the `valid_to` of a
    price, the price before it is in force again. Online and station prices are public; a partner's
    feed has those of another channel by an operator's grant.
    """

    routing_key = "catalog.price_changed.v1"
    subject = "variant_id"

    variant_id: UUID
    channel: Channel
    price_fen: Fen
    #: The grams or pieces that `price_fen` buys.
    price_unit: Quantity
    valid_from: Moment
    valid_to: Moment | None


class AvailabilityChanged(Fact, frozen=True, kw_only=True):
    """An order could now reserve `quantity` of a variant; published at most once a second.

    The quantity is absolute, so a subscriber that missed an event is right again after the next.
    It counts goods of released lots that keep long enough, lie at a centre, and are neither
    reserved nor allotted. An order may still be refused: others order at the same time.
    """

    routing_key = "catalog.availability_changed.v1"
    subject = "variant_id"

    variant_id: UUID
    quantity: Annotated[Amount, Meta(ge=0)]
    #: There is more than `quantity`, the most that the operator shows.
    capped: bool


class LotReleased(Fact, frozen=True, kw_only=True):
    """A lot passed inspection, or its hold ended, and may be sold."""

    routing_key = "catalog.lot_released.v1"
    subject = "lot_id"

    lot_id: UUID
    lot_code: str
    variant_id: UUID
    producer_id: UUID
    best_before: date | None


class LotHeld(Fact, frozen=True, kw_only=True):
    """A lot must not be sold until it is released again."""

    routing_key = "catalog.lot_held.v1"
    subject = "lot_id"

    lot_id: UUID
    #: Always `operator`. The operator's own words stay in catalog: they may name a person.
    reason: str


class LotRecalled(Fact, frozen=True, kw_only=True):
    """A lot must not be sold any more, and all its goods must come back."""

    routing_key = "catalog.lot_recalled.v1"
    subject = "lot_id"

    lot_id: UUID
    #: Always `operator`. The operator's own words stay in catalog: they may name a person.
    reason: str


class StockReceived(Fact, frozen=True, kw_only=True):
    """Goods of a lot arrived at a location and were added to its stock."""

    routing_key = "catalog.stock_received.v1"
    subject = "lot_id"

    lot_id: UUID
    location_id: UUID
    variant_id: UUID
    quantity: Quantity


class StockAdjusted(Fact, frozen=True, kw_only=True):
    """A count, drying, spoilage or find changed a lot's stock by `difference`."""

    routing_key = "catalog.stock_adjusted.v1"
    subject = "lot_id"

    lot_id: UUID
    location_id: UUID
    difference: Amount
    #: `counted`, `adjusted`, `shrunk`, `spoiled` or `written_off`.
    reason: str
