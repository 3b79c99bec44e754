"""Compare orders' rows with each other, and list facts to compare with other services."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Subquery, Text, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from services.orders.models import (
    CashEntry,
    Custody,
    Dispute,
    Journal,
    Order,
    OrderLine,
    Payment,
    ProviderRefund,
    Refund,
    TakenBack,
    TillEntry,
)
from services.orders.rules import journal as runs
from services.orders.rules.cash import COLLECTING, Change
from services.orders.rules.order_status import OrderState
from services.orders.rules.payments import CHARGEBACK, ProviderRefundState
from services.orders.rules.reversals import Taken
from services.orders.rules.till import PAYMENT_DIFFERS, REVERSALS, SELLING, EntryKind, EntryStatus
from services.orders.use_cases.entries import CASH_BOOKED
from shared.runtime.verify import Difference, FactKind, Report, by_lot, read_snapshot, stream

#: Holes of one journal that a note names.
NAMED = 10


def compare(session: Session) -> Report:
    """Return the differences between orders' rows; reads them all, at one moment."""
    read_snapshot(session)
    report = Report("orders", {})
    report.add(_orders(session, report))
    report.add(_payments(session))
    report.add(_refunds(session))
    report.add(_refunds_of_payments(session, report))
    report.add(_disputes(session))
    report.add(_journals(session, report))
    report.add(_taken_back(session, report))
    report.add(_cash_of_entries(session))
    report.add(_custodies(session, report))
    report.add(_disputed(session))
    return report


# --- Orders --------------------------------------------------------------------------------------


def _orders(session: Session, report: Report) -> Iterator[Difference]:
    report.checked["orders"] = session.scalar(select(func.count()).select_from(Order)) or 0
    lines_fen = func.coalesce(func.sum(OrderLine.line_total_fen), 0)
    statement = (
        select(Order.id, Order.order_ref, Order.total_fen, lines_fen.label("lines_fen"))
        .outerjoin(OrderLine, OrderLine.order_id == Order.id)
        .group_by(Order.id, Order.order_ref, Order.total_fen)
        .having(Order.total_fen != lines_fen)
    )
    for row in stream(session, statement):
        yield Difference(
            "order_total",
            {"order_id": row.id},
            f"{row.lines_fen} fen",
            f"{row.total_fen} fen",
            f"The lines of order {row.order_ref} cost {row.lines_fen} fen together, the order "
            f"{row.total_fen} fen.",
        )


def _refunds(session: Session) -> Iterator[Difference]:
    refunds = (
        select(Refund.order_id, func.sum(Refund.amount_fen).label("fen"))
        .group_by(Refund.order_id)
        .subquery()
    )
    gone = func.coalesce(refunds.c.fen, 0)
    statement = (
        select(Order.id, Order.order_ref, Order.refunded_fen, Order.paid_fen, gone.label("gone"))
        .outerjoin(refunds, refunds.c.order_id == Order.id)
        .where(or_(Order.refunded_fen != gone, gone > Order.paid_fen))
    )
    for row in stream(session, statement):
        yield Difference(
            "order_refunded",
            {"order_id": row.id},
            f"{row.gone} fen",
            f"{row.refunded_fen} fen of {row.paid_fen} fen paid",
            f"Refunds of order {row.order_ref} are {row.gone} fen together; the order says "
            f"{row.refunded_fen} fen, of {row.paid_fen} fen paid.",
        )


def _payments(session: Session) -> Iterator[Difference]:
    payments = _sums(Payment.order_id, Payment.amount_fen, Payment.status == "paid")
    # Cash counts too, and is no payment of a provider.
    statement = (
        select(Order.id, Order.order_ref, Order.paid_fen, payments.c.fen)
        .join(payments, payments.c.order_id == Order.id)
        .where(Order.paid_fen < payments.c.fen)
    )
    for row in stream(session, statement):
        yield Difference(
            "order_paid",
            {"order_id": row.id},
            f"at least {row.fen} fen",
            f"{row.paid_fen} fen",
            f"Payments of order {row.order_ref} are {row.fen} fen together; the order says "
            f"{row.paid_fen} fen.",
        )


def _refunds_of_payments(session: Session, report: Report) -> Iterator[Difference]:
    refunds = _sums(Refund.payment_id, Refund.amount_fen)
    again = _sums(Payment.of_payment_id, Payment.amount_fen, Payment.of_payment_id.is_not(None))
    had = Payment.amount_fen + func.coalesce(again.c.fen, 0)
    statement = (
        select(Payment.id, Payment.payment_ref, Payment.order_id, refunds.c.fen, had.label("had"))
        .join(refunds, refunds.c.payment_id == Payment.id)
        .outerjoin(again, again.c.of_payment_id == Payment.id)
        .where(refunds.c.fen > had)
    )
    for row in stream(session, statement):
        yield Difference(
            "payment_refunded",
            {"payment_id": row.id, "order_id": row.order_id},
            f"at most {row.had} fen",
            f"{row.fen} fen",
            f"Refunds of payment {row.payment_ref} are {row.fen} fen together, and it had "
            f"{row.had} fen.",
        )
    refused = select(func.count()).where(ProviderRefund.state == ProviderRefundState.REFUSED)
    if count := session.scalar(refused):
        report.notes.append(
            f"Providers refused {count} refunds that are booked: farmgate refunds list"
        )


def _sums(column: Any, amount: Any, *conditions: Any) -> Subquery:
    """Return the sum of an amount, in fen, for each value of a column."""
    sums = select(column, func.sum(amount).label("fen")).where(*conditions)
    return sums.group_by(column).subquery()


def _disputes(session: Session) -> Iterator[Difference]:
    refunds = _sums(Refund.payment_id, Refund.amount_fen, Refund.cause == CHARGEBACK)
    disputes = _sums(Dispute.payment_id, Dispute.booked_fen)
    gone, booked = func.coalesce(refunds.c.fen, 0), func.coalesce(disputes.c.fen, 0)
    statement = (
        select(Payment.id, Payment.payment_ref, gone.label("gone"), booked.label("booked"))
        .outerjoin(refunds, refunds.c.payment_id == Payment.id)
        .outerjoin(disputes, disputes.c.payment_id == Payment.id)
        .where(gone != booked)
    )
    for row in stream(session, statement):
        yield Difference(
            "chargeback",
            {"payment_id": row.id},
            f"{row.booked} fen",
            f"{row.gone} fen",
            f"Chargebacks of payment {row.payment_ref} took {row.booked} fen of its order; its "
            f"refunds with this cause are {row.gone} fen.",
        )


# --- Journals of tills ---------------------------------------------------------------------------


def _journals(session: Session, report: Report) -> Iterator[Difference]:
    waiting = func.sum(case((TillEntry.status == EntryStatus.WAITING, 1), else_=0))
    firsts = func.sum(case((TillEntry.copy == 1, 1), else_=0))
    key = (TillEntry.device_id, TillEntry.epoch)
    counted = select(
        *key, func.count().label("entries"), firsts.label("firsts"), waiting.label("waiting")
    ).group_by(*key)
    rows = {(row.device_id, row.epoch): row for row in session.execute(counted)}
    report.checked["till_entries"] = sum(row.entries for row in rows.values())
    journals = session.scalars(select(Journal).order_by(Journal.id)).all()
    report.checked["journals"] = len(journals)
    for journal in journals:
        row = rows.pop((journal.device_id, journal.epoch), None)
        here = int(row.firsts) if row is not None else 0
        missing = runs.missing(journal.holes)
        if here != journal.highest - missing:
            yield Difference(
                "journal",
                {"device_id": journal.device_id, "epoch": journal.epoch},
                f"{journal.highest - missing} entries",
                f"{here} entries",
                f"Of device {journal.device_code}, epoch {journal.epoch}, "
                f"{journal.highest - missing} entries should be here; {here} are.",
            )
        if missing:
            named = ", ".join(map(str, runs.first_missing(journal.holes, NAMED)))
            report.notes.append(
                f"Device {journal.device_code}, epoch {journal.epoch}: {missing} of "
                f"{journal.highest} entries have not come ({named}"
                f"{', …' if missing > NAMED else ''})."
            )
        if row is not None and row.waiting:
            report.notes.append(
                f"Device {journal.device_code}, epoch {journal.epoch}: {row.waiting} voids or "
                "returns wait for entries that have not come."
            )
    for device_id, epoch in rows:
        yield Difference(
            "journal",
            {"device_id": device_id, "epoch": epoch},
            "a journal",
            "none",
            f"There are entries of device {device_id}, epoch {epoch}, and no journal of it.",
        )


def _taken_back(session: Session, report: Report) -> Iterator[Difference]:
    by_entries: defaultdict[tuple[UUID, int], Taken] = defaultdict(Taken)
    reversals = select(TillEntry.of_entry_id, TillEntry.taken).where(
        TillEntry.of_entry_id.is_not(None), TillEntry.kind.in_(REVERSALS)
    )
    for sale_id, lines in stream(session, reversals):
        for line in lines or ():
            assert sale_id is not None
            name = (sale_id, line["line_no"])
            before = by_entries[name]
            by_entries[name] = Taken(
                before.quantity + line["quantity"], before.fen + line["line_total_fen"]
            )
    statement = select(TakenBack, TillEntry).join(TillEntry, TillEntry.id == TakenBack.sale_id)
    for row, sale in stream(session, statement):
        report.checked["taken_back"] = report.checked.get("taken_back", 0) + 1
        noted = Taken(row.taken, row.taken_fen)
        expected = by_entries.pop((row.sale_id, row.line_no), Taken())
        sold = next(
            (
                Taken(line["quantity"], line["line_total_fen"])
                for line in sale.lines
                if line["line_no"] == row.line_no
            ),
            Taken(),
        )
        of = Taken(row.sold, row.sold_fen)
        if noted != expected or of != sold or row.taken > row.sold:
            yield _taken_difference(row.sale_id, row.line_no, (expected, sold), (noted, of))
    for (sale_id, line_no), expected in by_entries.items():
        yield _taken_difference(sale_id, line_no, (expected, None), (Taken(), None))


#: The quantity and money taken back of a line, and those sold (None: not compared).
_TakenOf = tuple[Taken, Taken | None]


def _taken_difference(
    sale_id: UUID, line_no: int, expected: _TakenOf, noted: _TakenOf
) -> Difference:
    return Difference(
        "taken_back",
        {"sale_id": sale_id, "line_no": line_no},
        _shown_taken(expected),
        _shown_taken(noted),
        f"By its voids and returns {_shown_taken(expected)} came back of line {line_no} of sale "
        f"{sale_id}; its row says {_shown_taken(noted)}.",
    )


def _shown_taken(taken_of: _TakenOf) -> str:
    taken, sold = taken_of
    whole = "" if sold is None else f" of {sold.quantity} for {sold.fen} fen"
    return f"{taken.quantity} for {taken.fen} fen{whole}"


def _disputed(session: Session) -> Iterator[Difference]:
    statement = (
        select(TillEntry)
        .where(TillEntry.status == EntryStatus.DISPUTED)
        .order_by(TillEntry.arrival)
    )
    for entry in stream(session, statement).scalars():
        yield Difference(
            "station_sale_disputed",
            {"sale_id": entry.id, "device_id": entry.device_id},
            "a decision",
            f"disputed, {entry.reason}",
            f"The {entry.kind} number {entry.number} of device {entry.device_code}, epoch "
            f"{entry.epoch}, is disputed ({entry.reason}): {entry.detail}",
        )


# --- Cash ----------------------------------------------------------------------------------------


def _custody_fen() -> ColumnElement[int]:
    """Return `rules.cash.custody_fen` as an expression of a query."""
    booked = or_(TillEntry.status == EntryStatus.ACCEPTED, TillEntry.resolution == CASH_BOOKED)
    total_fen = func.coalesce(TillEntry.total_fen, 0)
    differs = cast(TillEntry.flags, Text).contains(f'"{PAYMENT_DIFFERS}"')
    return case(
        (
            and_(TillEntry.voided, TillEntry.kind == EntryKind.VOID, differs),
            case((TillEntry.payment == "cash", -total_fen), else_=total_fen),
        ),
        (
            or_(
                TillEntry.payment.is_(None),
                TillEntry.payment != "cash",
                TillEntry.voided,
                TillEntry.clerk.is_(None),
            ),
            0,
        ),
        (TillEntry.kind.in_(COLLECTING), total_fen),
        (and_(TillEntry.kind.in_(REVERSALS), booked), -total_fen),
        else_=0,
    )


def _cash_of_entries(session: Session) -> Iterator[Difference]:
    expected = _custody_fen()
    booked = func.coalesce(CashEntry.amount_fen, 0)
    statement = (
        select(
            TillEntry.id,
            TillEntry.number,
            TillEntry.device_code,
            TillEntry.clerk,
            TillEntry.site_id,
            CashEntry.clerk.label("holder"),
            CashEntry.site_id.label("held_at"),
            expected.label("expected"),
            booked.label("booked"),
        )
        .outerjoin(CashEntry, CashEntry.entry_id == TillEntry.id)
        .where(
            or_(
                expected != booked,
                CashEntry.clerk != TillEntry.clerk,
                CashEntry.site_id != TillEntry.site_id,
            )
        )
    )
    for row in stream(session, statement):
        yield Difference(
            "cash_entry",
            {"sale_id": row.id},
            f"{row.expected} fen of {row.clerk} at site {row.site_id}",
            f"{row.booked} fen of {row.holder} at site {row.held_at}",
            f"Entry {row.number} of device {row.device_code} moved {row.expected} fen of cash of "
            f"{row.clerk}; its cash entry has {row.booked} fen of {row.holder}.",
        )


def _custodies(session: Session, report: Report) -> Iterator[Difference]:
    key = (CashEntry.site_id, CashEntry.clerk)
    summed = select(*key, CashEntry.cause, func.sum(CashEntry.amount_fen), func.count()).group_by(
        *key, CashEntry.cause
    )
    by_entries: defaultdict[tuple[UUID, str], Change] = defaultdict(Change)
    report.checked["cash_entries"] = 0
    for site_id, clerk, cause, amount_fen, count in session.execute(summed):
        by_entries[site_id, clerk].add(cause, int(amount_fen))
        report.checked["cash_entries"] += count
    custodies = session.scalars(select(Custody).order_by(Custody.id)).all()
    report.checked["custodies"] = len(custodies)
    for custody in custodies:
        expected = by_entries.pop((custody.site_id, custody.clerk), Change())
        noted = Change(
            custody.collected_fen,
            custody.refunded_fen,
            custody.remitted_fen,
            custody.written_off_fen,
        )
        if noted != expected or custody.held_fen != expected.held_fen:
            yield _custody_difference(custody.site_id, custody.clerk, expected, noted)
    for (site_id, clerk), expected in by_entries.items():
        yield _custody_difference(site_id, clerk, expected, Change())


def _custody_difference(site_id: UUID, clerk: str, expected: Change, noted: Change) -> Difference:
    return Difference(
        "custody",
        {"site_id": site_id, "clerk": clerk},
        _shown(expected),
        _shown(noted),
        f"By the cash entries {clerk} holds {expected.held_fen} fen at site {site_id}; the custody "
        f"has {noted.held_fen} fen.",
    )


def _shown(change: Change) -> str:
    return (
        f"collected {change.collected_fen}, refunded {change.refunded_fen}, remitted "
        f"{change.remitted_fen}, written off {change.written_off_fen} fen"
    )


# --- Facts ---------------------------------------------------------------------------------------


def order_values(session: Session, orders: Sequence[Order]) -> Iterator[Mapping[str, Any]]:
    """Go through orders: the state of each, and the quantity of each lot set aside for it."""
    for order in orders:
        lots = [lot for line in order.lines for lot in line.lots or ()]
        yield {
            "state": _state_to_compare(order),
            "lots": by_lot((lot["lot_id"], lot["quantity"]) for lot in lots),
        }


def _state_to_compare(order: Order) -> str:
    """Return an order's state; for one that never asked for stock, the state of its approval."""
    if order.awaits_approval:
        return "awaiting_approval"
    if order.state == OrderState.REJECTED and order.approval_reason and not order.approved_by:
        return "declined"
    return str(order.state)


def sale_values(session: Session, entries: Sequence[TillEntry]) -> Iterator[Mapping[str, Any]]:
    """Go through station sales, voids and returns: the status, and the quantity of each lot."""
    for entry in entries:
        yield {
            "kind": str(entry.kind),
            "status": str(entry.status),
            "lots": by_lot((line["lot_id"], line["quantity"]) for line in entry.lines),
            "voided": entry.voided,
        }


#: The facts of orders, by their kind in the HTTP API.
FACTS: Mapping[str, FactKind[Any]] = {
    "orders": FactKind(select(Order), Order.id, order_values),
    "station_sales": FactKind(
        select(TillEntry).where(TillEntry.kind.in_(SELLING)), TillEntry.id, sale_values
    ),
}
