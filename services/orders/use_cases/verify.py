"""Compare orders' own rows with each other, and list what they hold of each order and sale."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, or_, select
from sqlalchemy.orm import Session

from services.orders.models import (
    CashEntry,
    Custody,
    Journal,
    Order,
    OrderLine,
    Refund,
    TakenBack,
    TillEntry,
)
from services.orders.rules import journal as runs
from services.orders.rules.cash import COLLECTING, Change
from services.orders.rules.order_status import OrderState
from services.orders.rules.takings import Taken
from services.orders.rules.till import PAYMENT_DIFFERS, SELLING, TAKING, EntryKind, EntryStatus
from services.orders.use_cases.entries import CASH_BOOKED
from shared.runtime.paging import Page, page
from shared.runtime.verify import MOST_DIFFERENCES, Difference, Fact, Report, by_lot, read_snapshot

#: Holes of one journal that a note names.
NAMED = 10


def compare(session: Session) -> Report:
    """Return the differences between orders' rows; reads them all, at one moment."""
    read_snapshot(session)
    report = Report("orders", {})
    checks = (
        _orders(session, report),
        _refunds(session),
        _journals(session, report),
        _taken_back(session, report),
        _cash_of_entries(session),
        _custodies(session, report),
        _disputed(session),
    )
    for differences in checks:
        found = list(differences)
        report.differences += found[:MOST_DIFFERENCES]
        cut = len(found) - MOST_DIFFERENCES
        if cut > 0:
            report.notes.append(f"{cut} more of {found[0].check} are not listed.")
    return report


# --- Orders --------------------------------------------------------------------------------------


def _orders(session: Session, report: Report) -> Iterable[Difference]:
    report.checked["orders"] = session.scalar(select(func.count()).select_from(Order)) or 0
    lines_fen = func.coalesce(func.sum(OrderLine.line_total_fen), 0)
    statement = (
        select(Order.id, Order.order_ref, Order.total_fen, lines_fen.label("lines_fen"))
        .outerjoin(OrderLine, OrderLine.order_id == Order.id)
        .group_by(Order.id, Order.order_ref, Order.total_fen)
        .having(Order.total_fen != lines_fen)
        .limit(MOST_DIFFERENCES)
    )
    for row in session.execute(statement):
        yield _difference(
            "order_total",
            {"order_id": row.id},
            f"{row.lines_fen} fen",
            f"{row.total_fen} fen",
            f"The lines of order {row.order_ref} cost {row.lines_fen} fen together, the order "
            f"{row.total_fen} fen.",
        )


def _refunds(session: Session) -> Iterable[Difference]:
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
        .limit(MOST_DIFFERENCES)
    )
    for row in session.execute(statement):
        yield _difference(
            "order_refunded",
            {"order_id": row.id},
            f"{row.gone} fen",
            f"{row.refunded_fen} fen of {row.paid_fen} fen paid",
            f"Refunds of order {row.order_ref} are {row.gone} fen together; the order says "
            f"{row.refunded_fen} fen, of {row.paid_fen} fen paid.",
        )


# --- Journals of tills ---------------------------------------------------------------------------


def _journals(session: Session, report: Report) -> Iterable[Difference]:
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
            yield _difference(
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
        yield _difference(
            "journal",
            {"device_id": device_id, "epoch": epoch},
            "a journal",
            "none",
            f"There are entries of device {device_id}, epoch {epoch}, and no journal of it.",
        )


def _taken_back(session: Session, report: Report) -> Iterable[Difference]:
    by_entries: defaultdict[tuple[UUID, int], Taken] = defaultdict(Taken)
    takings = select(TillEntry.of_entry_id, TillEntry.taken).where(
        TillEntry.of_entry_id.is_not(None), TillEntry.kind.in_(TAKING)
    )
    for sale_id, lines in session.execute(takings):
        for line in lines or ():
            assert sale_id is not None
            name = (sale_id, line["line_no"])
            before = by_entries[name]
            by_entries[name] = Taken(
                before.quantity + line["quantity"], before.fen + line["line_total_fen"]
            )
    statement = select(TakenBack, TillEntry).join(TillEntry, TillEntry.id == TakenBack.sale_id)
    for row, sale in session.execute(statement):
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


#: What was taken back of a line, and what was sold of it, if that is compared, too.
_TakenOf = tuple[Taken, Taken | None]


def _taken_difference(
    sale_id: UUID, line_no: int, expected: _TakenOf, noted: _TakenOf
) -> Difference:
    return _difference(
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


def _disputed(session: Session) -> Iterable[Difference]:
    statement = (
        select(TillEntry)
        .where(TillEntry.status == EntryStatus.DISPUTED)
        .order_by(TillEntry.arrival)
    )
    for entry in session.scalars(statement):
        yield _difference(
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
        (and_(TillEntry.kind.in_(TAKING), booked), -total_fen),
        else_=0,
    )


def _cash_of_entries(session: Session) -> Iterable[Difference]:
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
        .limit(MOST_DIFFERENCES)
    )
    for row in session.execute(statement):
        yield _difference(
            "cash_entry",
            {"sale_id": row.id},
            f"{row.expected} fen of {row.clerk} at site {row.site_id}",
            f"{row.booked} fen of {row.holder} at site {row.held_at}",
            f"Entry {row.number} of device {row.device_code} moved {row.expected} fen of cash of "
            f"{row.clerk}; its cash entry has {row.booked} fen of {row.holder}.",
        )


def _custodies(session: Session, report: Report) -> Iterable[Difference]:
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
    return _difference(
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


def _difference(
    check: str, ids: dict[str, Any], expected: str, found: str, detail: str
) -> Difference:
    return Difference(
        check, {name: str(value) for name, value in ids.items()}, expected, found, detail
    )


# --- Facts ---------------------------------------------------------------------------------------


def order_facts(
    session: Session, ids: Sequence[UUID], *, limit: int, cursor: str | None = None
) -> Page[Fact]:
    """Return the state of each order, and how much of each lot was set aside for it."""
    statement = select(Order)
    if ids:
        statement = statement.where(Order.id.in_(ids))
    found = page(session, statement, Order.id, limit=limit, cursor=cursor)
    facts = [
        Fact(
            order.id,
            {
                "state": _state_to_compare(order),
                "lots": by_lot(
                    [
                        (UUID(lot["lot_id"]), lot["quantity"])
                        for line in order.lines
                        for lot in line.lots or ()
                    ]
                ),
            },
        )
        for order in found.items
    ]
    return Page(facts, found.next)


def _state_to_compare(order: Order) -> str:
    """Return an order's state; without a request for stock, what it waits or ended for."""
    if order.awaits_approval:
        return "awaiting_approval"
    if order.state == OrderState.REJECTED and order.approval_reason and not order.approved_by:
        return "declined"
    return str(order.state)


def sale_facts(
    session: Session, ids: Sequence[UUID], *, limit: int, cursor: str | None = None
) -> Page[Fact]:
    """Return the station sales, voids and returns, and the quantity of each lot in them."""
    statement = select(TillEntry).where(TillEntry.kind.in_(SELLING))
    if ids:
        statement = statement.where(TillEntry.id.in_(ids))
    found = page(session, statement, TillEntry.id, limit=limit, cursor=cursor)
    facts = [
        Fact(
            entry.id,
            {
                "kind": str(entry.kind),
                "status": str(entry.status),
                "lots": by_lot([(UUID(line["lot_id"]), line["quantity"]) for line in entry.lines]),
                "voided": entry.voided,
            },
        )
        for entry in found.items
    ]
    return Page(facts, found.next)
