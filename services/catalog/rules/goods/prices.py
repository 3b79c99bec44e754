"""Which of a variant's prices holds, which holds after it, and who may read it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.catalog.rules.stock.lots import ImpossibleDates
from shared.events import CHANNELS, PUBLIC_CHANNELS, Channel
from shared.runtime.callers import Caller
from shared.runtime.validity import in_force


@dataclass(frozen=True, slots=True)
class Term:
    """A price in fen per `price_unit`, from a moment on, until another moment if it ends."""

    price_fen: int
    price_unit: int
    valid_from: datetime
    valid_to: datetime | None


def check_span(begins: datetime, ends: datetime | None) -> None:
    """Refuse a price that ends before it begins.

    Raises:
        ImpossibleDates: it does.
    """
    if ends is not None and ends <= begins:
        raise ImpossibleDates("The price ends before it begins; leave valid_to out or move it.")


def schedule(terms: Sequence[Term], moment: datetime) -> list[Term]:
    """Return the prices that hold from `moment` on, one after the other.

    Each ends where the next begins; there is a gap while no price holds.
    """
    changes = {moment}
    for each in terms:
        changes.update(at for at in (each.valid_from, each.valid_to) if at and at > moment)
    spans: list[Term] = []
    source: Term | None = None
    for at in sorted(changes):
        term = in_force(terms, at)
        if term is source:
            continue
        if source is not None:
            spans[-1] = replace(spans[-1], valid_to=at)
        if term is not None:
            # The present one keeps its beginning: a till's clock may be a little behind.
            spans.append(term if at == moment else replace(term, valid_from=at))
        source = term
    return spans


def readable_channels(caller: Caller) -> tuple[Channel, ...]:
    """Return the channels whose prices `caller` may read.

    These are the public ones, those that the caller may order over, and all for a caller who may
    set prices.
    """
    return tuple(
        channel
        for channel in CHANNELS
        if channel in PUBLIC_CHANNELS
        or caller.may(f"channel:{channel}")
        or caller.may("catalog:write")
    )
