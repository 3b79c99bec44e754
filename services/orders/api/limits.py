"""The limits of unpaid orders, read from the settings."""

from collections.abc import Mapping

from services.orders.rules.limits import Allowance, Limits
from shared.runtime.config import read_integer


def read_limits(environment: Mapping[str, str]) -> Limits:
    """Read the limits of unpaid orders from `FARMGATE_ORDERS_…`.

    Raises:
        Misconfigured: a setting is no whole number above 0.
    """

    def read(name: str, default: int) -> int:
        return read_integer(environment, f"FARMGATE_ORDERS_{name}", default, least=1)

    return Limits(
        hold_seconds=read("HOLD_SECONDS", 900),
        buyer=Allowance(read("OPEN_HOLDS", 20), read("OPEN_FEN", 2_000_000)),
        caller=Allowance(read("CALLER_OPEN_HOLDS", 1_000), read("CALLER_OPEN_FEN", 20_000_000)),
    )
