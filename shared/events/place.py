"""The place: sites, producers, goods and their prices."""

from marshmallow import EXCLUDE, Schema, fields, validate

from shared.events.base import CHANNELS, SITE_LEVELS, UNITS, Event, Names, fen, quantity


class SiteOpened(Event):
    """A site of the network (centre, county, township or village) takes part from now on."""

    routing_key = "logistics.site_opened.v1"
    subject = "site_id"

    site_id = fields.UUID(required=True)
    code = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf(SITE_LEVELS))
    parent_id = fields.UUID(required=True, allow_none=True)
    names = fields.Nested(Names, required=True)


class SiteClosed(Event):
    """A site takes no new orders, parcels or stock."""

    routing_key = "logistics.site_closed.v1"
    subject = "site_id"

    site_id = fields.UUID(required=True)


class EnterpriseContactGiven(Event):
    """An enterprise said how to reach it, and in which language."""

    routing_key = "catalog.enterprise_contact_given.v1"
    subject = "enterprise_id"
    public = False

    enterprise_id = fields.UUID(required=True)
    name = fields.String(required=True)
    phone = fields.String(required=True, allow_none=True)
    language = fields.String(required=True)


class ListedVariant(Schema):
    """One way in which a product is sold."""

    class Meta:
        unknown = EXCLUDE

    variant_id = fields.UUID(required=True)
    sku = fields.String(required=True)
    grade = fields.String(required=True)
    unit = fields.String(required=True, validate=validate.OneOf(UNITS))
    pack_quantity = quantity()
    storage = fields.String(required=True, allow_none=True)
    #: Days a lot must still keep when it reaches the buyer.
    min_life_days = fields.Integer(required=True)


class ProductListed(Event):
    """A product with its variants is on sale; sent again, with all variants, when they change."""

    routing_key = "catalog.product_listed.v1"
    subject = "product_id"

    product_id = fields.UUID(required=True)
    code = fields.String(required=True)
    names = fields.Nested(Names, required=True)
    perishable = fields.Boolean(required=True)
    variants = fields.List(fields.Nested(ListedVariant), required=True)


class ProductWithdrawn(Event):
    """A product and all its variants are no longer on sale."""

    routing_key = "catalog.product_withdrawn.v1"
    subject = "product_id"

    product_id = fields.UUID(required=True)


class PriceChanged(Event):
    """From `valid_from` on a variant costs `price_fen` per `price_unit` in one channel.

    Of the prices that have begun and not ended the last to begin holds: when a price with
    `valid_to` ends, the one before it holds again.
    """

    routing_key = "catalog.price_changed.v1"
    subject = "variant_id"

    variant_id = fields.UUID(required=True)
    channel = fields.String(required=True, validate=validate.OneOf(CHANNELS))
    price_fen = fen()
    #: How many grams or pieces `price_fen` buys.
    price_unit = quantity()
    valid_from = fields.AwareDateTime(required=True)
    valid_to = fields.AwareDateTime(required=True, allow_none=True)


class LotReleased(Event):
    """A lot passed inspection, or is free again after a hold, and may be sold."""

    routing_key = "catalog.lot_released.v1"
    subject = "lot_id"

    lot_id = fields.UUID(required=True)
    lot_code = fields.String(required=True)
    variant_id = fields.UUID(required=True)
    producer_id = fields.UUID(required=True)
    best_before = fields.Date(required=True, allow_none=True)


class LotHeld(Event):
    """A lot must not be sold until it is released again."""

    routing_key = "catalog.lot_held.v1"
    subject = "lot_id"

    lot_id = fields.UUID(required=True)
    reason = fields.String(required=True)


class LotRecalled(Event):
    """A lot must not be sold any more and comes back from wherever it is."""

    routing_key = "catalog.lot_recalled.v1"
    subject = "lot_id"

    lot_id = fields.UUID(required=True)
    reason = fields.String(required=True)


class StockReceived(Event):
    """Goods of a lot arrived at a location and are in its stock."""

    routing_key = "catalog.stock_received.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    variant_id = fields.UUID(required=True)
    quantity = quantity()


class StockAdjusted(Event):
    """A count, drying, spoilage or find changed a lot's stock by `difference`."""

    routing_key = "catalog.stock_adjusted.v1"
    subject = "lot_id"
    feed_only = True

    lot_id = fields.UUID(required=True)
    location_id = fields.UUID(required=True)
    difference = fields.Integer(required=True, strict=True)
    reason = fields.String(required=True)
