"""Book the cash in the custody of stations' clerks: taken, refunded, remitted, written off."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, Table, select
from sqlalchemy.orm import Session

from services.orders.batch import OrdersBatch
from services.orders.models import CashEntry, Custody, Remittance, SiteReadModel, TillEntry
from services.orders.rules import cash
from services.orders.use_cases.place import UnknownSite
from shared.runtime import clock
from shared.runtime.errors import Conflict, Unprocessable
from shared.runtime.ids import new_id
from shared.runtime.inserts import insert
from shared.runtime.paging import filtered

_ENTRIES = cast(Table, CashEntry.__table__)
_CUSTODIES = cast(Table, Custody.__table__)


class UnknownClerk(Unprocessable):
    """Raised when no clerk of this name ever had cash in custody at the site."""


class CustodyHoldsLess(Conflict):
    """Raised when more cash is taken out of a clerk's custody than is in it."""


class ReasonNeeded(Unprocessable):
    """Raised when two counts differ and no reason is given."""


def book_entries(session: Session, entries: Iterable[TillEntry], *, booked: bool = False) -> int:
    """Book the cash that stored entries of journals moved, in two statements.

    `booked` lets a refund count that was disputed. Returns how many entries moved cash.
    """
    now = clock.now()
    rows = []
    for entry in entries:
        amount_fen = cash.custody_fen(
            entry.kind,
            entry.status,
            entry.payment,
            entry.total_fen,
            entry.voided,
            entry.flags,
            booked=booked,
        )
        if amount_fen and entry.clerk is not None:
            rows.append(
                _row(
                    entry.site_id,
                    entry.clerk,
                    entry.kind,
                    amount_fen,
                    now,
                    device_id=entry.device_id,
                    epoch=entry.epoch,
                    shift=entry.shift,
                    entry_id=entry.id,
                )
            )
    _book(session, rows)
    return len(rows)


def remit(
    batch: OrdersBatch,
    *,
    site_id: UUID,
    clerk: str,
    sent_fen: int,
    counted_fen: int,
    reason: str | None,
    accept_shortage: bool,
    by: str,
) -> Remittance:
    """Book that a clerk handed `sent_fen` on to the centre, which counted `counted_fen`.

    All that was sent leaves custody; the difference of the counts is written off, with its reason.
    With `accept_shortage` the custody may hold less, or not exist: its sales come later.

    Raises:
        UnknownSite: there is no such site.
        UnknownClerk: this clerk never had cash in custody.
        CustodyHoldsLess: the clerk holds less than was sent.
        ReasonNeeded: the counts differ, and no reason is given.
    """
    session = batch.session
    _check_site(session, site_id)
    if sent_fen != counted_fen and not reason:
        raise ReasonNeeded(
            f"{sent_fen} fen were sent and {counted_fen} fen counted; give a reason."
        )
    if not accept_shortage:
        _check_held(session, site_id, clerk, sent_fen)
    now = clock.now()
    remittance = Remittance(
        id=new_id(),
        site_id=site_id,
        clerk=clerk,
        sent_fen=sent_fen,
        counted_fen=counted_fen,
        reason=reason,
        recorded_by=by,
        remitted_at=now,
    )
    session.add(remittance)
    session.flush()
    facts = {"remittance_id": remittance.id, "reason": reason, "recorded_by": by}
    moved = ((cash.REMITTED, -counted_fen), (cash.WRITTEN_OFF, counted_fen - sent_fen))
    _book(session, [_row(site_id, clerk, c, fen, now, **facts) for c, fen in moved if fen])
    return remittance


def write_off(
    batch: OrdersBatch,
    *,
    site_id: UUID,
    clerk: str,
    amount_fen: int,
    reason: str,
    accept_shortage: bool,
    by: str,
) -> CashEntry:
    """Write off cash that a clerk should hold and does not; below 0: there is more than expected.

    With `accept_shortage` the custody may hold less, or not exist: its sales come later.

    Raises:
        UnknownSite: there is no such site.
        UnknownClerk: this clerk never had cash in custody.
        CustodyHoldsLess: the clerk holds less than that.
    """
    session = batch.session
    _check_site(session, site_id)
    if not accept_shortage:
        _check_held(session, site_id, clerk, amount_fen)
    row = _row(
        site_id,
        clerk,
        cash.WRITTEN_OFF,
        -amount_fen,
        clock.now(),
        reason=reason,
        recorded_by=by,
    )
    _book(session, [row])
    return CashEntry(**row)


def hand_to(session: Session, entries: Sequence[TillEntry], clerk: str) -> None:
    """Move the cash of these entries from their clerk's custody to `clerk`'s."""
    booked = session.scalars(
        select(CashEntry).where(CashEntry.entry_id.in_([entry.id for entry in entries]))
    ).all()
    changes: defaultdict[tuple[UUID, str], cash.Change] = defaultdict(cash.Change)
    for row in booked:
        changes[row.site_id, row.clerk].add(row.cause, -row.amount_fen)
        changes[row.site_id, clerk].add(row.cause, row.amount_fen)
        row.clerk = clerk
    if changes:
        _change(session, changes)


def _check_site(session: Session, site_id: UUID) -> None:
    # A closed site is accepted: its clerks may still hold cash.
    if session.get(SiteReadModel, site_id) is None:
        raise UnknownSite(f"There is no site {site_id}; choose one of GET /api/logistics/v1/sites.")


def _check_held(session: Session, site_id: UUID, clerk: str, amount_fen: int) -> None:
    # Locked: two remittances at once could otherwise both take the same cash.
    held_fen = session.scalar(
        select(Custody.held_fen)
        .where(Custody.id == cash.custody_id(site_id, clerk))
        .with_for_update()
    )
    later = "If sales of theirs have yet to be uploaded, repeat it with accept_shortage."
    if held_fen is None:
        clerks = session.scalars(select(Custody.clerk).where(Custody.site_id == site_id))
        near = cash.near_names(clerk, clerks)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownClerk(
            f"No clerk named {clerk} has taken cash at this site.{meant} {later}", near=near
        )
    if held_fen < amount_fen:
        raise CustodyHoldsLess(
            f"{clerk} holds {held_fen} fen and not {amount_fen}: check the amount. {later}",
            held_fen=held_fen,
        )


def select_custodies(*, site_id: UUID | None = None, clerk: str | None = None) -> Select[Custody]:
    """Return the statement that selects what clerks hold."""
    return filtered(select(Custody), {Custody.site_id: site_id, Custody.clerk: clerk})


def _row(
    site_id: UUID, clerk: str, cause: str, amount_fen: int, at: datetime, **facts: Any
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "site_id": site_id,
        "clerk": clerk,
        "cause": str(cause),
        "amount_fen": amount_fen,
        "at": at,
        "device_id": None,
        "epoch": None,
        "shift": None,
        "entry_id": None,
        "remittance_id": None,
        "reason": None,
        "recorded_by": None,
    } | facts


def _book(session: Session, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    session.execute(_ENTRIES.insert(), rows)
    changes: defaultdict[tuple[UUID, str], cash.Change] = defaultdict(cash.Change)
    for row in rows:
        changes[row["site_id"], row["clerk"]].add(row["cause"], row["amount_fen"])
    _change(session, changes)


def _change(session: Session, changes: Mapping[tuple[UUID, str], cash.Change]) -> None:
    """Add to clerks' custodies; a custody that does not exist is opened."""
    statement = insert(session, _CUSTODIES)
    counted = [column.name for column in _CUSTODIES.c if column.name.endswith("_fen")]
    rows = [
        {
            "id": cash.custody_id(site_id, clerk),
            "site_id": site_id,
            "clerk": clerk,
            **{name: getattr(change, name) for name in counted},
        }
        for (site_id, clerk), change in changes.items()
    ]
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: _CUSTODIES.c[name] + statement.excluded[name] for name in counted},
        ),
        # In id order: two tills with the same clerks could otherwise wait for each other.
        sorted(rows, key=lambda row: str(row["id"])),
    )
