"""The scopes of each role. Services check a token's scopes and know no roles."""

#: Scopes for orders over a sales channel.
CHANNEL_SCOPES = ("channel:online", "channel:station", "channel:company", "channel:cooperative")
#: Every scope that a route or rule of any service checks; a test compares.
SCOPES = (
    "catalog:write",
    "availability:read",
    "stock:read",
    "stock:write",
    "orders:place",
    "orders:place_for",
    "orders:read",
    "orders:operate",
    *CHANNEL_SCOPES,
    "sites:write",
    "shipments:read",
    "shipments:operate",
    "messages:read",
    "messages:operate",
    "events:read",
    "events:manage",
    "events:operate",
    "stations:read",
    "stations:operate",
    "operate",
    "till",
    "till:upload",
)
#: Scopes of a device's own key: their routes answer for the device that calls.
DEVICE_SCOPES = ("till", "till:upload")

#: Roles whose tokens must be bound to sites; they give no access to other sites.
BOUND_TO_SITES = ("clerk",)

ROLES: dict[str, tuple[str, ...]] = {
    #: Deploys, monitors and repairs the system.
    "operator": tuple(scope for scope in SCOPES if scope not in DEVICE_SCOPES),
    #: A shop, marketplace or ERP that lists goods, places orders for its buyers, reads these orders
    #: and follows their events. Its channel is online unless the token has another channel's scope.
    "channel": (
        "availability:read",
        "orders:place",
        "orders:place_for",
        "orders:read",
        "events:read",
        "events:manage",
    ),
    #: A person who orders for themselves; companies and cooperatives add their channel's scope.
    "buyer": ("orders:place", "orders:read", "messages:read"),
    #: Sells at a station, receives parcels and hands them out.
    "clerk": (
        "orders:place",
        "orders:place_for",
        "channel:station",
        "orders:read",
        "stock:read",
        "shipments:read",
        "shipments:operate",
        "messages:read",
        "stations:read",
    ),
    #: A farmer, cooperative or company; reads messages about its sales.
    "producer": ("messages:read",),
}
