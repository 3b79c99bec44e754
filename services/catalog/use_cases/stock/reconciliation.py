"""Compare every stored balance with the ledger: of lots at locations, and of allotments.

One statement reads everything: several would each see another moment of a running system, and
report differences that never were.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, case, func, literal, select, union_all
from sqlalchemy.orm import Session

from services.catalog.models import (
    Allotment,
    Location,
    Lot,
    Reservation,
    ReservationLine,
    StockLevel,
    StockMovement,
    Variant,
)
from services.catalog.rules import (
    BUCKET_OF,
    Account,
    Bucket,
    ReservationStatus,
    is_balanced,
    on_hand,
)

#: Differences that are listed; more than that are one fault many times.
MOST_DIFFERENCES = 200

_Place = tuple[UUID, UUID]
#: The quantities of an allotment besides `remaining`.
_PARTS = ("granted", "sold", "returned", "written_off")


@dataclass(frozen=True)
class BalanceDifference:
    """A balance that differs from the ledger, or from the reservations or allotments of it."""

    lot_code: str
    location_code: str
    #: Of a lot at a location; or a part of an allotment, such as `sold`.
    bucket: str
    balance: int
    #: `movements`, `reservations` or `allotments`.
    against: str
    expected: int
    #: Whose balance it is; None: that of the lot at the location.
    allotment_id: UUID | None = None


@dataclass(frozen=True)
class Sums:
    """What came, what went, and what is there, by account and by bucket."""

    flows: dict[str, int]
    buckets: dict[str, int]
    balanced: bool


@dataclass(frozen=True)
class VariantSums(Sums):
    """The sums of one variant, in its unit."""

    variant_id: UUID
    sku: str
    unit: str


@dataclass(frozen=True)
class Reconciliation:
    """All variants that ever had stock, and the differences found."""

    variants: list[VariantSums]
    differences: list[BalanceDifference]

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing or too much anywhere."""
        return not self.differences and all(variant.balanced for variant in self.variants)

    @property
    def totals(self) -> Sums:
        """The sums over all variants; grams and pieces together, so only good to compare."""
        flows = {account.value: 0 for account in Account}
        buckets = {bucket.value: 0 for bucket in Bucket} | {"on_hand": 0}
        for variant in self.variants:
            _add(flows, variant.flows)
            _add(buckets, variant.buckets)
        return Sums(flows, buckets, self.balanced)


def reconcile(session: Session) -> Reconciliation:
    """Rebuild all balances from the ledger and compare; reads the whole ledger."""
    sums: dict[str, defaultdict[_Place, dict[str, int]]] = {
        source: defaultdict(dict)
        for source in ("levels", "movements", "reservations", "allotments", "kept", "moved")
    }
    for source, lot_id, location_id, account, quantity in session.execute(_everything()):
        at = sums[source][lot_id, location_id]
        at[account] = at.get(account, 0) + int(quantity)
    levels, movements = sums["levels"], sums["movements"]
    lots = _lots(session, {lot_id for lot_id, _ in levels.keys() | movements.keys()})
    location_codes = {
        row.id: row.code for row in session.execute(select(Location.id, Location.code))
    }
    differences: list[BalanceDifference] = []
    totals: dict[UUID, tuple[dict[str, int], dict[str, int]]] = {}
    for place in sorted(levels.keys() | movements.keys()):
        lot_id, location_id = place
        code, variant_id = lots[lot_id]
        for bucket in Bucket:
            for against, expected in _expected(sums, place, bucket):
                balance = levels[place].get(bucket, 0)
                if balance != expected:
                    differences.append(
                        BalanceDifference(
                            code,
                            location_codes.get(location_id, str(location_id)),
                            bucket.value,
                            balance,
                            against,
                            expected,
                        )
                    )
        moved, kept = totals.setdefault(variant_id, ({}, {}))
        _add(moved, movements[place])
        _add(kept, levels[place])
    differences += _of_allotments(session, sums, lots, location_codes)
    return Reconciliation(
        _by_variant(session, totals, differences, lots), differences[:MOST_DIFFERENCES]
    )


def _expected(
    sums: dict[str, defaultdict[_Place, dict[str, int]]], place: _Place, bucket: Bucket
) -> list[tuple[str, int]]:
    expected = [("movements", sums["movements"][place].get(bucket, 0))]
    if bucket in BUCKET_OF.values():
        expected.append(("reservations", sums["reservations"][place].get(bucket, 0)))
    if bucket is Bucket.ALLOTTED:
        expected.append(("allotments", sums["allotments"][place].get(bucket, 0)))
    return expected


def _of_allotments(
    session: Session,
    sums: dict[str, defaultdict[_Place, dict[str, int]]],
    lots: dict[UUID, tuple[str, UUID]],
    location_codes: dict[UUID, str],
) -> list[BalanceDifference]:
    """Compare the quantities of each allotment with the sums of its own movements."""
    kept, moved = sums["kept"], sums["moved"]
    wrong = [
        (place, part, kept[place].get(part, 0), moved[place].get(part, 0))
        for place in sorted(kept.keys() | moved.keys())
        for part in _PARTS
        if kept[place].get(part, 0) != moved[place].get(part, 0)
    ]
    if not wrong:
        return []
    rows = session.execute(select(Allotment.id, Allotment.lot_id))
    lot_of = {row.id: row.lot_id for row in rows}
    return [
        BalanceDifference(
            lots[lot_of[allotment_id]][0] if allotment_id in lot_of else str(allotment_id),
            location_codes.get(site_id, str(site_id)),
            part,
            balance,
            "movements",
            expected,
            allotment_id,
        )
        for (allotment_id, site_id), part, balance, expected in wrong
    ]


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for account, quantity in more.items():
        total[account] = total.get(account, 0) + quantity


def _by_variant(
    session: Session,
    totals: dict[UUID, tuple[dict[str, int], dict[str, int]]],
    differences: list[BalanceDifference],
    lots: dict[UUID, tuple[str, UUID]],
) -> list[VariantSums]:
    variant_of_code = {code: variant_id for code, variant_id in lots.values()}
    wrong = {variant_of_code.get(difference.lot_code) for difference in differences}
    rows = session.execute(select(Variant.id, Variant.sku, Variant.unit).order_by(Variant.sku))
    result = []
    for variant_id, sku, unit in rows:
        if variant_id not in totals:
            continue
        moved, kept = totals[variant_id]
        sources = (Account.RECEIVED, Account.FOUND, Account.RESTOCKED)
        result.append(
            VariantSums(
                variant_id=variant_id,
                sku=sku,
                unit=unit,
                flows={
                    account.value: moved.get(account, 0) * (-1 if account in sources else 1)
                    for account in Account
                },
                buckets={bucket.value: kept.get(bucket, 0) for bucket in Bucket}
                | {"on_hand": on_hand(kept)},
                balanced=variant_id not in wrong and is_balanced(moved, kept),
            )
        )
    return result


def _lots(session: Session, lot_ids: set[UUID]) -> dict[UUID, tuple[str, UUID]]:
    rows = session.execute(select(Lot.id, Lot.code, Lot.variant_id))
    return {row.id: (row.code, row.variant_id) for row in rows if row.id in lot_ids}


def _everything() -> Any:
    return union_all(
        *(_levels(bucket) for bucket in Bucket),
        _moved("to"),
        _moved("from"),
        *(_claimed(status, bucket) for status, bucket in BUCKET_OF.items()),
        _allotted(),
        *(_kept(part) for part in _PARTS),
        _moved_by_allotment(),
    )


def _levels(bucket: Bucket) -> Select[*tuple[Any, ...]]:
    return select(
        literal("levels").label("source"),
        StockLevel.lot_id,
        StockLevel.location_id,
        literal(bucket.value).label("account"),
        getattr(StockLevel, bucket).label("quantity"),
    )


def _moved(side: str) -> Select[*tuple[Any, ...]]:
    account = getattr(StockMovement, f"{side}_bucket")
    total = func.sum(StockMovement.quantity)
    return select(
        literal("movements").label("source"),
        StockMovement.lot_id,
        StockMovement.location_id,
        account.label("account"),
        (total if side == "to" else -total).label("quantity"),
    ).group_by(StockMovement.lot_id, StockMovement.location_id, account)


def _claimed(status: ReservationStatus, bucket: Bucket) -> Select[*tuple[Any, ...]]:
    return (
        select(
            literal("reservations").label("source"),
            ReservationLine.lot_id,
            ReservationLine.location_id,
            literal(bucket.value).label("account"),
            func.sum(ReservationLine.quantity).label("quantity"),
        )
        .join(Reservation, Reservation.order_id == ReservationLine.order_id)
        .where(Reservation.status == status.value)
        .group_by(ReservationLine.lot_id, ReservationLine.location_id)
    )


def _allotted() -> Select[*tuple[Any, ...]]:
    return (
        select(
            literal("allotments").label("source"),
            Allotment.lot_id,
            Allotment.site_id.label("location_id"),
            literal(Bucket.ALLOTTED.value).label("account"),
            func.sum(Allotment.remaining).label("quantity"),
        )
        .where(Allotment.remaining > 0)
        .group_by(Allotment.lot_id, Allotment.site_id)
    )


def _kept(part: str) -> Select[*tuple[Any, ...]]:
    """Return one part of each allotment; its id stands where others have the lot's."""
    return select(
        literal("kept").label("source"),
        Allotment.id.label("lot_id"),
        Allotment.site_id.label("location_id"),
        literal(part).label("account"),
        getattr(Allotment, part).label("quantity"),
    )


def _moved_by_allotment() -> Select[*tuple[Any, ...]]:
    part = case(
        (StockMovement.to_bucket == Bucket.ALLOTTED.value, "granted"),
        (StockMovement.to_bucket == Account.CONSUMED.value, "sold"),
        (StockMovement.to_bucket == Account.LOST.value, "written_off"),
        else_="returned",
    )
    return (
        select(
            literal("moved").label("source"),
            StockMovement.allotment_id.label("lot_id"),
            StockMovement.location_id,
            part.label("account"),
            func.sum(StockMovement.quantity).label("quantity"),
        )
        .where(StockMovement.allotment_id.is_not(None))
        .group_by(StockMovement.allotment_id, StockMovement.location_id, part)
    )
