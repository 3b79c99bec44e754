"""Record what stations sold over the counter, and what came back of it; each counts once.

A sale is booked with all its lines or none: each line needs enough left of its device's allotment.
A sale beyond that has happened all the same, and its goods are gone: it becomes an overdraft, which
is in no balance until an operator decides what covers it.
"""

from collections.abc import Iterable, Sequence

from services.catalog.batch import CatalogBatch
from services.catalog.models import Device, Overdraft
from services.catalog.rules import (
    BEYOND_GRANT,
    NO_ALLOTMENT,
    RUNNING,
    Account,
    Bucket,
    DeviceStatus,
    LotStatus,
    OverdraftStatus,
    Reason,
    RecordedSale,
    SaleStatus,
    Sold,
    check_back,
    free_bucket,
    overdrawn,
    reduced,
)
from services.catalog.use_cases.stations.allotment_grants import add_to_allotment
from services.catalog.use_cases.stations.allotments import allotment_of, lock_by_key
from services.catalog.use_cases.stations.daily_sales import add_to_today
from services.catalog.use_cases.stations.recorded_sales import (
    add_sale,
    find_sale,
    lines_undone,
    load_sales,
)
from services.catalog.use_cases.stock.ledger import level_at, lock_lot, lock_lots, move
from services.catalog.use_cases.stock.picking import forget_pickable
from shared.events import (
    AllotmentOverdrawn,
    OverdraftSettled,
    OverdrawnLine,
    StationSaleDisputed,
    StationSaleRecorded,
)
from shared.runtime import clock
from shared.runtime.errors import Conflict

#: The actor of movements that a station's sale causes.
STATIONS = "stations"


class UnknownSale(Conflict):
    """Raised when goods come back of a sale that catalog has not recorded (yet)."""


def load_for_sales(batch: CatalogBatch, sales: Sequence[StationSaleRecorded]) -> None:
    """Lock and load what these sales, voids and returns need, in a fixed number of statements.

    Lots come first, then the devices to which goods may be granted again, then allotments.
    """
    undone = [sale.of_sale_id for sale in sales if sale.of_sale_id is not None]
    load_sales(batch, {sale.sale_id for sale in sales} | set(undone))
    keys = {(sale.device_id, sale.epoch, line.lot_id) for sale in sales for line in sale.lines}
    lock_lots(batch, {lot_id for _, _, lot_id in keys})
    batch.load_for_update(
        Device.id, {sale.device_id for sale in sales if sale.of_sale_id is not None}
    )
    lock_by_key(batch, keys)
    batch.load_for_update(Overdraft.sale_id, undone)


def record_sale(batch: CatalogBatch, sale: StationSaleRecorded) -> None:
    """Record a sale, void or return. Repeating it changes nothing.

    Raises:
        UnknownSale: the sale that it undoes is not recorded (yet).
        BeyondSale: more came back than was sold.
    """
    if find_sale(batch, sale.sale_id) is not None:
        return
    load_for_sales(batch, [sale])
    if sale.kind == "sale":
        _sell(batch, sale)
    else:
        _undo(batch, sale)


def record_dispute(batch: CatalogBatch, sale: StationSaleDisputed) -> None:
    """Open an overdraft for a sale that orders disputed; an operator decides what covers it.

    Voids and returns, unreadable sales and sales that are recorded already need no cover.
    """
    lines = [Sold.of(line) for line in sale.lines]
    if sale.kind == "sale" and lines and find_sale(batch, sale.sale_id) is None:
        _overdraw(batch, sale, lines, sale.reason, SaleStatus.DISPUTED)


# --- Sold ----------------------------------------------------------------------------------------


def _sell(batch: CatalogBatch, sale: StationSaleRecorded) -> None:
    lines = [Sold.of(line) for line in sale.lines]
    device_id, epoch = sale.device_id, sale.epoch
    allotments = {
        line.lot_id: allotment
        for line in lines
        if (allotment := allotment_of(batch, device_id, epoch, line.lot_id)) is not None
    }
    beyond = overdrawn(lines, {lot_id: a.remaining for lot_id, a in allotments.items()})
    if beyond:
        unknown = any(line.lot_id not in allotments for line, _ in beyond)
        reason = NO_ALLOTMENT if unknown else BEYOND_GRANT
        overdraft = _overdraw(batch, sale, lines, reason, SaleStatus.OVERDRAWN)
        batch.record(
            overdraft,
            AllotmentOverdrawn(
                sale_id=overdraft.sale_id,
                device_id=device_id,
                epoch=epoch,
                number=overdraft.number,
                reason=reason,
                lines=[
                    OverdrawnLine(
                        line_no=line.line_no,
                        lot_id=line.lot_id,
                        requested=line.quantity,
                        remaining=left,
                    )
                    for line, left in beyond
                ],
            ),
        )
        return
    moment = clock.now()
    for line in lines:
        allotment = allotments[line.lot_id]
        allotment.quota = allotment.quota.sell(line.quantity)
        allotment.changed_at = moment
        lot = lock_lot(batch, line.lot_id)
        move(
            batch,
            level_at(lot, allotment.site_id),
            Bucket.ALLOTTED,
            Account.CONSUMED,
            line.quantity,
            Reason.CONSUMED,
            actor=STATIONS,
            allotment_id=allotment.id,
            sale_id=sale.sale_id,
        )
        add_to_today(batch, allotment.site_id, lot.variant_id, line.quantity)
    add_sale(batch, _recorded(sale, lines, SaleStatus.BOOKED))


def _overdraw(
    batch: CatalogBatch,
    sale: StationSaleRecorded | StationSaleDisputed,
    lines: Sequence[Sold],
    reason: str,
    status: SaleStatus,
) -> Overdraft:
    moment = clock.now()
    overdraft = Overdraft(
        sale_id=sale.sale_id,
        device_id=sale.device_id,
        epoch=sale.epoch,
        number=sale.number,
        site_id=sale.site_id,
        reason=reason,
        status=OverdraftStatus.OPEN.value,
        lines=[line.to_json() for line in lines],
        opened_at=moment,
        changed_at=moment,
        version=0,
    )
    batch.track(Overdraft.sale_id, overdraft)
    add_sale(batch, _recorded(sale, lines, status))
    return overdraft


def _recorded(
    sale: StationSaleRecorded | StationSaleDisputed, lines: Iterable[Sold], status: SaleStatus
) -> RecordedSale:
    return RecordedSale(
        sale.sale_id,
        sale.kind,
        sale.device_id,
        sale.epoch,
        sale.number,
        sale.site_id,
        sale.of_sale_id if isinstance(sale, StationSaleRecorded) else None,
        status,
        tuple(lines),
        clock.now(),
    )


# --- Undone --------------------------------------------------------------------------------------


def _undo(batch: CatalogBatch, sale: StationSaleRecorded) -> None:
    original = None if sale.of_sale_id is None else find_sale(batch, sale.of_sale_id)
    if original is None or original.kind != "sale":
        raise UnknownSale(f"Sale {sale.of_sale_id} was not heard of; it may be on its way.")
    back = [Sold.of(line) for line in sale.lines]
    check_back(original.lines, lines_undone(batch, original.sale_id), back)
    overdraft: Overdraft | None = batch.get_for_update(Overdraft.sale_id, original.sale_id)
    if overdraft is None or overdraft.status == OverdraftStatus.COVERED:
        for line in back:
            _restock(batch, sale, original, line)
        add_sale(batch, _recorded(sale, back, SaleStatus.BOOKED))
        return
    _reduce(batch, overdraft, back)
    add_sale(batch, _recorded(sale, back, SaleStatus.REDUCED))


def _reduce(batch: CatalogBatch, overdraft: Overdraft, back: Sequence[Sold]) -> None:
    """Reduce an overdraft by goods that came back: they moved no stock when they were sold."""
    overdraft.changed_at = clock.now()
    if overdraft.status != OverdraftStatus.OPEN:
        return
    rest = reduced([Sold.from_json(line) for line in overdraft.lines], back)
    overdraft.lines = [line.to_json() for line in rest]
    if not rest:
        overdraft.status = OverdraftStatus.VOIDED.value
        batch.record(
            overdraft,
            OverdraftSettled(
                sale_id=overdraft.sale_id,
                resolution=OverdraftStatus.VOIDED.value,
            ),
        )


def _restock(
    batch: CatalogBatch, sale: StationSaleRecorded, original: RecordedSale, line: Sold
) -> None:
    """Take goods of a booked sale back into stock, and grant them to the device again if allowed.

    Goods that can be sold again lie at the site: free, or quarantined while their lot must not be
    sold. Other goods are lost.
    """
    lot = lock_lot(batch, line.lot_id)
    device_id, epoch = original.device_id, original.epoch
    allotment = allotment_of(batch, device_id, epoch, line.lot_id)
    site_id = original.site_id if allotment is None else allotment.site_id
    level = level_at(lot, site_id)
    # Without `restock`, a void is of a sale whose goods never left the counter.
    restock = line.restock is not False
    bucket = free_bucket(lot.status) if restock else Bucket.QUARANTINED
    source, sale_id = Account.RESTOCKED, sale.sale_id
    move(
        batch,
        level,
        source,
        bucket,
        line.quantity,
        Reason.RESTOCKED,
        actor=STATIONS,
        sale_id=sale_id,
    )
    add_to_today(batch, site_id, lot.variant_id, -line.quantity)
    if not restock:
        move(
            batch,
            level,
            bucket,
            Account.LOST,
            line.quantity,
            Reason.WRITTEN_OFF,
            actor=STATIONS,
            sale_id=sale_id,
        )
        return
    device: Device | None = batch.get_for_update(Device.id, device_id)
    if (
        allotment is not None
        and allotment.status in RUNNING
        and lot.status == LotStatus.RELEASED
        and device is not None
        and device.status == DeviceStatus.ACTIVE
        and device.epoch == epoch
    ):
        add_to_allotment(batch, device, allotment, level, line.quantity, STATIONS)
    else:
        forget_pickable(batch, lot.variant_id)
