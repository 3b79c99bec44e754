"""The published language: every event contract, in the order of an order's life.

A contract defines the meaning of an event, its fields, and whether integrators may see it. The
routing key is the event's type, `<service>.<fact>.v<major>`; `subject` names the field by whose
aggregate the events are ordered. A contract only gains optional fields; any other change is a new
major version beside the old one.

Quantities are integers in the variant's unit (grams or pieces), money is integer fen (CNY),
moments are UTC, dates are calendar dates in Asia/Shanghai. Public events contain ids, quantities
and money; names, phones and addresses of people are only in events that are not public.
"""

# The types of contracts are exported here, too.
from shared.events.base import (  # noqa: F401
    CHANNELS,
    COUNTER_PAYMENTS,
    PAYMENT_METHODS,
    PUBLIC_CHANNELS,
    SITE_LEVELS,
    STATION_SALE_KINDS,
    UNITS,
    Channel,
    CounterPayment,
    Fact,
    Fen,
    Moment,
    Names,
    OrderFact,
    Part,
    PaymentMethod,
    Quantity,
    SiteLevel,
    StationSaleKind,
    Unit,
)
from shared.events.endings import (
    OrderCancelled,
    OrderExpired,
    OrderReinstated,
    StockReleased,
)
from shared.events.money import (
    OrderPaid,
    PaymentFailed,
    PaymentRefunded,
    PaymentRequested,
    RefundReversed,
)
from shared.events.place import (  # noqa: F401
    AvailabilityChanged,
    EnterpriseContactGiven,
    ListedVariant,
    LotHeld,
    LotRecalled,
    LotReleased,
    PriceChanged,
    ProductListed,
    ProductWithdrawn,
    SiteClosed,
    SiteOpened,
    StockAdjusted,
    StockReceived,
)
from shared.events.placing import (  # noqa: F401
    ApprovalRequested,
    ContactGiven,
    OrderConfirmed,
    OrderPlaced,
    OrderRejected,
    PlacedLine,
    ReservedLine,
    Shortfall,
    StockRefused,
    StockReserved,
    TakenLot,
)
from shared.events.stations import (  # noqa: F401
    AllotmentGranted,
    AllotmentOverdrawn,
    AllotmentReturned,
    DeviceKeyGiven,
    HandOverRefused,
    OverdraftSettled,
    OverdrawnLine,
    ParcelHandedOver,
    SoldLine,
    StationSaleDisputed,
    StationSaleRecorded,
)
from shared.events.travel import (  # noqa: F401
    CollectionCodeIssued,
    DeliveryFailed,
    OrderCompleted,
    OrderReturned,
    ShipmentArrived,
    ShipmentCancelled,
    ShipmentCollected,
    ShipmentDelivered,
    ShipmentDispatched,
    ShipmentPacked,
    ShipmentPlanned,
    ShipmentRecalled,
    ShipmentReturned,
    ShippedLine,
)

#: All contracts, in reading order. No other event can be published.
EVENTS: tuple[type[Fact], ...] = (
    SiteOpened,
    SiteClosed,
    EnterpriseContactGiven,
    ProductListed,
    ProductWithdrawn,
    PriceChanged,
    AvailabilityChanged,
    LotReleased,
    LotHeld,
    LotRecalled,
    StockReceived,
    StockAdjusted,
    ApprovalRequested,
    OrderPlaced,
    ContactGiven,
    StockReserved,
    StockRefused,
    OrderConfirmed,
    OrderRejected,
    PaymentRequested,
    OrderPaid,
    PaymentFailed,
    PaymentRefunded,
    RefundReversed,
    OrderExpired,
    OrderReinstated,
    OrderCancelled,
    StockReleased,
    ShipmentPlanned,
    ShipmentPacked,
    ShipmentDispatched,
    ShipmentArrived,
    CollectionCodeIssued,
    ShipmentDelivered,
    ShipmentCollected,
    ShipmentRecalled,
    DeliveryFailed,
    ShipmentCancelled,
    ShipmentReturned,
    OrderCompleted,
    OrderReturned,
    DeviceKeyGiven,
    AllotmentGranted,
    AllotmentReturned,
    StationSaleRecorded,
    StationSaleDisputed,
    AllotmentOverdrawn,
    OverdraftSettled,
    ParcelHandedOver,
    HandOverRefused,
)

BY_TYPE: dict[str, type[Fact]] = {contract.routing_key: contract for contract in EVENTS}
