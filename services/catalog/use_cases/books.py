"""Do the books balance? Every balance is rebuilt from the ledger and compared with what is kept.

All of it is read by one statement: several would each see another moment of a running system,
and report differences that never were.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, literal, select, union_all
from sqlalchemy.orm import Session

from services.catalog.models import (
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

#: Differences that are listed; more than that is one fault many times.
MOST_DIFFERENCES = 200

_Place = tuple[UUID, UUID]


@dataclass(frozen=True)
class Difference:
    """A bucket whose balance is not what the ledger, or the open reservations, say."""

    lot_code: str
    location_code: str
    bucket: str
    balance: int
    #: `movements` or `reservations`.
    against: str
    expected: int


@dataclass(frozen=True)
class Sums:
    """What came, what went, and what is there, by account and by bucket."""

    flows: dict[str, int]
    buckets: dict[str, int]
    balanced: bool


@dataclass(frozen=True)
class VariantBooks(Sums):
    """The sums of one variant, in its unit."""

    variant_id: UUID
    sku: str
    unit: str


@dataclass(frozen=True)
class Books:
    """All variants that ever had stock, and the differences found."""

    variants: list[VariantBooks]
    differences: list[Difference]

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


def balance_books(session: Session) -> Books:
    """Rebuild all balances from the ledger and compare; reads the whole ledger."""
    sums: dict[str, defaultdict[_Place, dict[str, int]]] = {
        source: defaultdict(dict) for source in ("levels", "movements", "reservations")
    }
    for source, lot_id, location_id, account, quantity in session.execute(_everything()):
        at = sums[source][lot_id, location_id]
        at[account] = at.get(account, 0) + int(quantity)
    levels, movements = sums["levels"], sums["movements"]
    lots = _lots(session, {lot_id for lot_id, _ in levels.keys() | movements.keys()})
    location_codes = {
        row.id: row.code for row in session.execute(select(Location.id, Location.code))
    }
    differences: list[Difference] = []
    totals: dict[UUID, tuple[dict[str, int], dict[str, int]]] = {}
    for place in sorted(levels.keys() | movements.keys()):
        lot_id, location_id = place
        code, variant_id = lots[lot_id]
        for bucket in Bucket:
            for against, expected in _expected(sums, place, bucket):
                balance = levels[place].get(bucket, 0)
                if balance != expected:
                    differences.append(
                        Difference(
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
    return Books(_by_variant(session, totals, differences, lots), differences[:MOST_DIFFERENCES])


def _expected(
    sums: dict[str, defaultdict[_Place, dict[str, int]]], place: _Place, bucket: Bucket
) -> list[tuple[str, int]]:
    expected = [("movements", sums["movements"][place].get(bucket, 0))]
    if bucket in BUCKET_OF.values():
        expected.append(("reservations", sums["reservations"][place].get(bucket, 0)))
    return expected


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for account, quantity in more.items():
        total[account] = total.get(account, 0) + quantity


def _by_variant(
    session: Session,
    totals: dict[UUID, tuple[dict[str, int], dict[str, int]]],
    differences: list[Difference],
    lots: dict[UUID, tuple[str, UUID]],
) -> list[VariantBooks]:
    variant_of_code = {code: variant_id for code, variant_id in lots.values()}
    wrong = {variant_of_code[difference.lot_code] for difference in differences}
    rows = session.execute(select(Variant.id, Variant.sku, Variant.unit).order_by(Variant.sku))
    result = []
    for variant_id, sku, unit in rows:
        if variant_id not in totals:
            continue
        moved, kept = totals[variant_id]
        sources = (Account.RECEIVED, Account.FOUND, Account.RESTOCKED)
        result.append(
            VariantBooks(
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
