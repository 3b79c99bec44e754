"""What a token may do, by the role of its bearer. Services check scopes and know no roles."""

#: Scopes of tokens that order over other channels than online, which needs none.
CHANNEL_SCOPES = ("channel:online", "channel:station", "channel:company", "channel:cooperative")
#: Every scope that a route of any service asks for (a test compares), or that a rule looks at.
SCOPES = (
    "catalog:write",
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
    "stations:read",
    "stations:operate",
    "operate",
    "till",
    "till:upload",
)
#: Of a device's own key only: the routes that ask for them answer for the device that calls.
DEVICE_SCOPES = ("till", "till:upload")

#: Roles of people who belong to a site: what others do and know is not theirs.
BOUND_TO_SITES = ("clerk",)

ROLES: dict[str, tuple[str, ...]] = {
    #: Deploys, watches, repairs.
    "operator": tuple(scope for scope in SCOPES if scope not in DEVICE_SCOPES),
    #: A shop, marketplace or ERP that places orders for its buyers and reads those; online,
    #: unless scopes of other channels are given besides.
    "channel": ("orders:place", "orders:place_for", "orders:read"),
    #: A person who orders for themselves; a company or cooperative with its channel's scope.
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
    #: A farmer, cooperative or company: told what was sold.
    "producer": ("messages:read",),
}
