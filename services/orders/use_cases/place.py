"""Place an order at the prices of orders' read models; catalog's answer decides it later."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, func, or_, select

from services.orders.batch import OrdersBatch
from services.orders.models import Order, OrderLine, PriceReadModel, SiteReadModel, VariantReadModel
from services.orders.rules import order_status, people, prices
from services.orders.rules.external_refs import request_digest
from services.orders.rules.limits import OPEN_ORDERS, Limits
from services.orders.use_cases import approve, recording
from services.orders.use_cases.transition import mark_changed
from shared.events import Channel, PaymentMethod
from shared.runtime import clock
from shared.runtime.bulk import among
from shared.runtime.errors import Conflict, FarmgateError, Unprocessable
from shared.runtime.ids import new_id, new_reference
from shared.runtime.locks import advisory_lock


class UnknownVariant(Unprocessable):
    """Raised when a variant is not on sale: never listed, or withdrawn."""


class NoPrice(Unprocessable):
    """Raised when a variant has no price in the channel at present."""


class UnknownSite(Unprocessable):
    """Raised when a site does not exist."""


class SiteIsClosed(Unprocessable):
    """Raised when a site takes no new orders."""


class NoCashWithoutStation(Unprocessable):
    """Raised when a buyer pays cash at a station, but does not collect there."""


class PriceChanged(Conflict):
    """Raised when a line costs another amount than the buyer was shown."""


class ExternalRefUsed(Conflict):
    """Raised when a partner gives an order the external_ref of another order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """What somebody orders, and the limits that apply to it.

    `lines` have variant_id, quantity and, to make sure of the price shown, line_total_fen.
    Of `contact` (name, phone in E.164, address, language) orders stores the masked phone and a
    digest only. `order_id` is the id of the till's entry, for an order from a till.

    `limits` apply to the buyer and the telephone, with `limit_caller` also to `placed_by`. An
    order beyond them waits for an operator, and asks for its goods once it is approved. With
    `refuse_too_many` an order beyond the number of open orders is refused instead. A till passes
    False: its buyer has gone home.

    A `partner` may give an `external_ref`, by which it repeats a placement without an end.
    """

    channel: Channel
    payment_method: PaymentMethod
    site_id: UUID
    collect: bool
    lines: Sequence[Mapping[str, Any]]
    contact: Mapping[str, Any]
    buyer_id: str | None
    placed_by: str
    limits: Limits
    limit_caller: bool
    refuse_too_many: bool
    order_id: UUID | None = None
    partner: str | None = None
    external_ref: str | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """What names the order for good: the partner and its external_ref; None: nothing does."""
        if self.partner is None or self.external_ref is None:
            return None
        return self.partner, self.external_ref

    def digest(self, order_id: UUID) -> bytes:
        """Return the digest of what is ordered, for the order with this id."""
        said = ("channel", "payment_method", "site_id", "collect", "lines", "contact", "buyer_id")
        return request_digest(order_id, {name: getattr(self, name) for name in said})


@dataclass(frozen=True)
class PlacedOrder:
    """An order, new or placed before; if it is new, the secret of its guest's link.

    The secret is not stored.
    """

    order: Order
    guest_secret: str | None


# Made once: making a statement takes longer than executing it.
_SITES = select(SiteReadModel.id, SiteReadModel.code, SiteReadModel.closed).where(
    among(SiteReadModel.id, bindparam("ids"))
)
_PLACED = select(Order).where(
    # In words, too: a database uses a partial index only if the query has its condition.
    Order.external_ref.is_not(None),
    among(Order.external_ref, bindparam("refs")),
    among(Order.partner, bindparam("partners")),
)
_LATEST = (
    select(func.max(PriceReadModel.valid_from))
    .where(
        PriceReadModel.variant_id == VariantReadModel.id,
        PriceReadModel.channel == bindparam("channel"),
        PriceReadModel.valid_from <= bindparam("moment"),
        or_(PriceReadModel.valid_to.is_(None), PriceReadModel.valid_to > bindparam("moment")),
    )
    .correlate(VariantReadModel)
    .scalar_subquery()
)
_OFFERS = (
    select(
        VariantReadModel.id,
        VariantReadModel.sku,
        VariantReadModel.unit,
        VariantReadModel.pack_quantity,
        PriceReadModel.price_fen,
        PriceReadModel.price_unit,
    )
    .outerjoin(
        PriceReadModel,
        and_(
            PriceReadModel.variant_id == VariantReadModel.id,
            PriceReadModel.channel == bindparam("channel"),
            PriceReadModel.valid_from == _LATEST,
        ),
    )
    .where(among(VariantReadModel.id, bindparam("ids")), VariantReadModel.on_sale)
)


def load(batch: OrdersBatch, placements: Collection[Placement]) -> None:
    """Load what `place_order` reads, and lock the limits, for all placements of a transaction.

    The number of statements does not grow with the number of placements.
    """
    _load_placed_before(batch, {each.key for each in placements if each.key is not None})
    placements = [each for each in placements if _placed_before(batch, each) is None]
    _load_sites(batch, {each.site_id for each in placements})
    wanted: dict[str, set[UUID]] = {}
    for each in placements:
        wanted.setdefault(each.channel, set()).update(line["variant_id"] for line in each.lines)
    for channel, variant_ids in wanted.items():
        _load_offers(batch, channel, variant_ids)
    # Last, since placements of other transactions wait for these locks.
    approve.load_open_orders(
        batch,
        phones=[each.contact["phone"] for each in placements],
        buyer_ids=[each.buyer_id for each in placements if each.buyer_id],
        callers=[each.placed_by for each in placements if each.limit_caller],
    )


def place_order(batch: OrdersBatch, placement: Placement) -> PlacedOrder:
    """Store an order and ask catalog for its goods; nothing is promised yet.

    If the partner has placed an order with this external_ref before, that order is returned as it
    is now. Executes no statement after `load`. An error leaves the batch as it was.

    Raises:
        UnknownSite, SiteIsClosed, UnknownVariant, NoPrice, WrongPack, TotalTooLarge,
        NoCashWithoutStation: the order is impossible.
        ExternalRefUsed: the order with this external_ref is another one.
        PriceChanged: a line's total is not the one given; all that differ are named.
        TooManyOpenHolds: the buyer must first pay, collect or cancel other orders.
    """
    if placement.payment_method == "cash_at_station" and not placement.collect:
        raise NoCashWithoutStation(
            "Cash at the station is paid by a buyer who collects there; set collect to true, or "
            "choose cash_on_delivery or prepaid."
        )
    load(batch, [placement])
    before = _placed_before(batch, placement)
    if before is not None:
        _check_same(before, placement)
        return PlacedOrder(before, None)
    _check_site(batch, placement.site_id)
    rows = _price_lines(batch, placement.channel, placement.lines)
    total_fen = sum(row.line_total_fen for row in rows)
    prices.check_total(total_fen)
    secret = people.new_guest_secret() if placement.buyer_id is None else None
    order_ref, arrival, now = new_reference("ORD"), new_id(), clock.now()
    status = order_status.placed(order_ref, placement.payment_method, total_fen)
    phone = placement.contact["phone"]
    order = Order(
        id=placement.order_id or arrival,
        arrival=arrival,
        order_ref=order_ref,
        channel=placement.channel,
        buyer_id=placement.buyer_id,
        placed_by=placement.placed_by,
        partner=placement.partner,
        site_id=placement.site_id,
        collect=placement.collect,
        masked_phone=people.masked(phone),
        phone_digest=people.phone_digest(phone) if status.holds_unpaid_stock else None,
        guest_secret_digest=None if secret is None else people.secret_digest(secret),
        payment_method=placement.payment_method,
        state=status.state,
        payment_state=status.payment_state,
        total_fen=total_fen,
        paid_fen=0,
        refunded_fen=0,
        hold_seconds=placement.limits.hold_seconds,
        external_ref=placement.external_ref,
        placed_at=now,
        changed_at=now,
        lines=rows,
    )
    if placement.key is not None:
        order.request_digest = placement.digest(order.id)
    if status.holds_unpaid_stock:
        _apply_limits(batch, order, placement)
    batch.track(Order.id, order)
    if placement.key is not None:
        batch.placed_before[placement.key] = order
    recording.record_contact(batch, order, placement.contact)
    if order.approval_reason is not None:
        recording.record_approval_requested(batch, order, order.approval_reason)
    else:
        recording.record_placed(batch, order)
    return PlacedOrder(order, secret)


def place_orders(
    batch: OrdersBatch, placements: Sequence[Placement | FarmgateError]
) -> list[PlacedOrder | FarmgateError]:
    """Place several orders; one that is refused does not affect the others.

    Returns for each the order or why it is refused. A placement that is refused already stays so.
    """
    load(batch, [each for each in placements if isinstance(each, Placement)])
    return [
        each if isinstance(each, FarmgateError) else _placed_or_refused(batch, each)
        for each in placements
    ]


def _placed_or_refused(batch: OrdersBatch, placement: Placement) -> PlacedOrder | FarmgateError:
    try:
        return place_order(batch, placement)
    except FarmgateError as error:
        return error


def _apply_limits(batch: OrdersBatch, order: Order, placement: Placement) -> None:
    """Make a new order wait for approval if it goes beyond the limits.

    Raises:
        TooManyOpenHolds: it goes beyond the number of open orders, and `refuse_too_many` is set.
    """
    limits = placement.limits
    order.approval_reason = approve.approval_needed(
        batch, order, limits, limit_caller=placement.limit_caller
    )
    if order.approval_reason == OPEN_ORDERS and placement.refuse_too_many:
        raise approve.TooManyOpenHolds(
            "There are too many unpaid orders of this buyer, this telephone or this caller; pay, "
            "collect or cancel one of them first, or ask an operator to order for you.",
            open_holds=limits.buyer.orders,
        )
    approve.count_open(batch, order)


def _load_placed_before(batch: OrdersBatch, keys: set[tuple[str, str]]) -> None:
    """Lock partners' external_refs, and load the orders that have them.

    Two placements with one external_ref take turns: the second one finds the first one's order.
    """
    missing = keys - batch.placed_before.keys()
    if not missing:
        return
    advisory_lock(batch.session, *(f"external_ref/{partner}/{ref}" for partner, ref in missing))
    batch.placed_before.update(dict.fromkeys(missing))
    partners, refs = zip(*missing, strict=True)
    for order in batch.session.scalars(_PLACED, {"partners": [*partners], "refs": [*refs]}):
        # With several partners the statement also finds orders that nobody asks for.
        if (key := (order.partner, order.external_ref)) in missing:
            batch.placed_before[key] = order


def _placed_before(batch: OrdersBatch, placement: Placement) -> Order | None:
    return None if placement.key is None else batch.placed_before[placement.key]


def _check_same(order: Order, placement: Placement) -> None:
    if order.request_digest != placement.digest(order.id):
        raise ExternalRefUsed(
            f"Your order {order.order_ref} has the external_ref {order.external_ref} and another "
            "content; give a new order another external_ref, or repeat the request unchanged.",
            order_id=str(order.id),
            order_ref=order.order_ref,
        )


def _load_sites(batch: OrdersBatch, site_ids: set[UUID]) -> None:
    missing = {each for each in site_ids if each not in batch.sites}
    if missing:
        batch.sites.update(dict.fromkeys(missing))
        found = batch.session.execute(_SITES, {"ids": [*missing]})
        batch.sites.update({row.id: row for row in found})


def _check_site(batch: OrdersBatch, site_id: UUID) -> None:
    site = batch.sites[site_id]
    if site is None:
        raise UnknownSite(f"There is no site {site_id}; choose one of GET /api/logistics/v1/sites.")
    if site.closed:
        raise SiteIsClosed(f"Site {site.code} is closed; choose another.")


def _price_lines(
    batch: OrdersBatch, channel: str, lines: Sequence[Mapping[str, Any]]
) -> list[OrderLine]:
    rows, changed = [], []
    for line_no, line in enumerate(lines, start=1):
        variant_id, quantity = line["variant_id"], line["quantity"]
        offer = batch.offers[channel, variant_id]
        if offer is None:
            raise UnknownVariant(
                f"Line {line_no}: variant {variant_id} is not on sale; choose one of "
                "GET /api/catalog/v1/products.",
                line_no=line_no,
            )
        if offer.price_fen is None:
            raise NoPrice(
                f"Line {line_no}: {offer.sku} has no price for {channel} at present; leave it "
                "out, or order over another channel.",
                line_no=line_no,
            )
        prices.check_packs(line_no, quantity, offer.pack_quantity, offer.unit)
        total = prices.line_total_fen(quantity, offer.price_fen, offer.price_unit)
        prices.check_total(total)
        if line.get("line_total_fen") not in (None, total):
            present = {"price_fen": offer.price_fen, "price_unit": offer.price_unit}
            changed.append({"line_no": line_no, "line_total_fen": total, **present})
        rows.append(
            OrderLine(
                line_no=line_no,
                variant_id=variant_id,
                quantity=quantity,
                price_fen=offer.price_fen,
                price_unit=offer.price_unit,
                line_total_fen=total,
            )
        )
    if changed:
        numbers = ", ".join(str(line["line_no"]) for line in changed)
        raise PriceChanged(
            f"The price of line {numbers} is another now; show the buyer the present one and "
            "order again.",
            lines=changed,
        )
    return rows


def _load_offers(batch: OrdersBatch, channel: str, variant_ids: set[UUID]) -> None:
    """Load the variants on sale, in one statement, each with its price in a channel or None."""
    missing = {each for each in variant_ids if (channel, each) not in batch.offers}
    if not missing:
        return
    batch.offers.update(dict.fromkeys((channel, each) for each in missing))
    named = {"channel": channel, "moment": clock.now(), "ids": [*missing]}
    batch.offers.update({(channel, row.id): row for row in batch.session.execute(_OFFERS, named)})


def replace_contact(batch: OrdersBatch, order: Order, contact: Mapping[str, Any]) -> None:
    """Replace the contact of a locked order and publish the new contact."""
    mark_changed(order)
    order.masked_phone = people.masked(contact["phone"])
    if order.phone_digest is not None:
        order.phone_digest = people.phone_digest(contact["phone"])
    recording.record_contact(batch, order, contact)
