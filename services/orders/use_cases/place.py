"""Place an order: priced from orders' own list, decided by catalog's answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from services.orders.models import Order, OrderLine, PriceCopy, SiteCopy, VariantCopy
from services.orders.rules import people, prices, standing
from services.orders.rules.standing import PREPAID, OrderState, PaymentState
from shared import clock
from shared.errors import Conflict, Unprocessable
from shared.events import ContactGiven, OrderPlaced
from shared.ids import new_id, new_reference
from shared.outbox import record
from shared.rows import remember, take_turns


class UnknownVariant(Unprocessable):
    """Raised when a variant is not on sale: never listed, or withdrawn."""


class NoPrice(Unprocessable):
    """Raised when a variant has no price in the channel at present."""


class UnknownSite(Unprocessable):
    """Raised when a site does not exist."""


class SiteIsClosed(Unprocessable):
    """Raised when a site takes no new orders."""


class NoCashWithoutStation(Unprocessable):
    """Raised when cash shall be paid at a station that the buyer does not come to."""


class PriceChanged(Conflict):
    """Raised when a line costs something else than the buyer was shown."""


class TooManyOpenHolds(Conflict):
    """Raised when a buyer has too many orders unpaid to have goods set aside for another."""


@dataclass(frozen=True)
class Limits:
    """What unpaid orders may hold: for how long, and how many of them one buyer may have."""

    hold_seconds: int
    open_holds: int


@dataclass(frozen=True)
class Placed:
    """An order just placed, and the secret of its guest's link, which is not stored."""

    order: Order
    guest_secret: str | None


def place_order(
    session: Session,
    *,
    channel: str,
    payment_method: str,
    site_id: UUID,
    collect: bool,
    lines: Sequence[Mapping[str, Any]],
    contact: Mapping[str, Any],
    buyer_id: str | None,
    placed_by: str,
    limits: Limits,
    order_id: UUID | None = None,
) -> Placed:
    """Store an order and ask catalog for its goods; nothing is promised yet.

    `lines` have variant_id, quantity and, to make sure of the price shown, line_total_fen.
    `contact` (name, phone in E.164, address, language) only passes through, except for the
    masked phone. How long a prepaid order's goods are held, and how many such orders one buyer
    may have, is limited, so that nobody can hoard a rare lot. `order_id` is given where the
    order has a name already, such as the entry of a till's journal.

    Raises:
        UnknownSite, SiteIsClosed, UnknownVariant, NoPrice, WrongPack, TotalTooLarge,
        NoCashWithoutStation: the order is impossible.
        PriceChanged: a line's total is not the one given; all that differ are named.
        TooManyOpenHolds: the buyer has to pay or cancel first.
    """
    now = clock.now()
    if payment_method == "cash_at_station" and not collect:
        raise NoCashWithoutStation(
            "Cash at the station is paid by a buyer who collects there; set collect to true, or "
            "choose cash_on_delivery or prepaid."
        )
    _check_site(session, site_id)
    rows = _priced(session, channel, lines, now)
    total_fen = sum(row.line_total_fen for row in rows)
    prices.check_total(total_fen)
    if payment_method == PREPAID and buyer_id is not None:
        _check_open_holds(session, buyer_id, limits.open_holds)
    secret = people.new_guest_secret() if buyer_id is None else None
    order_ref, arrival = new_reference("ORD"), new_id()
    begins = standing.placed(order_ref, payment_method, total_fen)
    order = Order(
        id=order_id or arrival,
        arrival=arrival,
        order_ref=order_ref,
        channel=channel,
        buyer_id=buyer_id,
        placed_by=placed_by,
        site_id=site_id,
        collect=collect,
        masked_phone=people.masked(contact["phone"]),
        guest_secret_digest=None if secret is None else people.secret_digest(secret),
        payment_method=payment_method,
        state=begins.state,
        payment_state=begins.payment_state,
        total_fen=total_fen,
        paid_fen=0,
        refunded_fen=0,
        hold_seconds=limits.hold_seconds,
        placed_at=now,
        changed_at=now,
        lines=rows,
    )
    remember(session, Order.id, order)
    _say_placed(session, order, contact)
    return Placed(order, secret)


def _check_site(session: Session, site_id: UUID) -> None:
    site = session.get(SiteCopy, site_id)
    if site is None:
        raise UnknownSite(f"There is no site {site_id}; choose one of GET /api/logistics/v1/sites.")
    if site.closed:
        raise SiteIsClosed(f"Site {site.code} is closed; choose another.")


def _priced(
    session: Session, channel: str, lines: Sequence[Mapping[str, Any]], now: datetime
) -> list[OrderLine]:
    offers = _offers(session, channel, {line["variant_id"] for line in lines}, now)
    rows, changed = [], []
    for line_no, line in enumerate(lines, start=1):
        variant_id, quantity = line["variant_id"], line["quantity"]
        offer = offers.get(variant_id)
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


def _offers(
    session: Session, channel: str, variant_ids: set[UUID], moment: datetime
) -> dict[UUID, Any]:
    """Return the variants on sale, in one statement, each with its price in a channel or None.

    As plain rows: placing an order changes none of them.
    """
    begun = (
        select(func.max(PriceCopy.valid_from))
        .where(
            PriceCopy.variant_id == VariantCopy.id,
            PriceCopy.channel == channel,
            PriceCopy.valid_from <= moment,
            or_(PriceCopy.valid_to.is_(None), PriceCopy.valid_to > moment),
        )
        .correlate(VariantCopy)
        .scalar_subquery()
    )
    offers = (
        select(
            VariantCopy.id,
            VariantCopy.sku,
            VariantCopy.unit,
            VariantCopy.pack_quantity,
            PriceCopy.price_fen,
            PriceCopy.price_unit,
        )
        .outerjoin(
            PriceCopy,
            and_(
                PriceCopy.variant_id == VariantCopy.id,
                PriceCopy.channel == channel,
                PriceCopy.valid_from == begun,
            ),
        )
        .where(VariantCopy.id.in_(variant_ids), VariantCopy.on_sale)
    )
    return {row.id: row for row in session.execute(offers)}


def _check_open_holds(session: Session, buyer_id: str, most: int) -> None:
    # One buyer's placements go one by one, or two at once would both be the last allowed.
    take_turns(session, f"holds/{buyer_id}")
    held = session.scalar(
        select(func.count())
        .select_from(Order)
        .where(
            Order.buyer_id == buyer_id,
            Order.payment_method == PREPAID,
            Order.state.in_((OrderState.PLACED, OrderState.RESERVED)),
            Order.payment_state.in_((PaymentState.PENDING, PaymentState.FAILED)),
        )
    )
    if held is not None and held >= most:
        raise TooManyOpenHolds(
            f"Buyer {buyer_id} has {held} unpaid orders; pay or cancel one of them first.",
            open_holds=held,
        )


def give_contact(session: Session, order: Order, contact: Mapping[str, Any]) -> None:
    """Tell anew how to reach a buyer, whom nobody could reach by what was told before."""
    order.masked_phone = people.masked(contact["phone"])
    _say_contact(session, order, contact)


def _say_contact(session: Session, order: Order, contact: Mapping[str, Any]) -> None:
    record(
        session,
        ContactGiven,
        order,
        order_id=order.id,
        order_ref=order.order_ref,
        buyer_id=order.buyer_id,
        name=contact["name"],
        phone=contact["phone"],
        # Who collects needs no address, so nobody else gets to know it.
        address=None if order.collect else contact["address"],
        language=contact["language"],
    )


def _say_placed(session: Session, order: Order, contact: Mapping[str, Any]) -> None:
    _say_contact(session, order, contact)
    record(
        session,
        OrderPlaced,
        order,
        order_id=order.id,
        order_ref=order.order_ref,
        channel=order.channel,
        payment_method=order.payment_method,
        buyer_id=order.buyer_id,
        site_id=order.site_id,
        lines=[
            {
                "line_no": line.line_no,
                "variant_id": line.variant_id,
                "quantity": line.quantity,
                "line_total_fen": line.line_total_fen,
            }
            for line in order.lines
        ],
        total_fen=order.total_fen,
    )
