"""The buyers and channels for which a caller may order. The token decides, never the body.

Most callers order for themselves. A token with `ANY_BUYER` orders for anybody. A token with
`OWN_BUYERS` (a marketplace, a shop, a clerk) orders for guests and for its own buyers, whose ids
begin with the caller's id: one caller's "dolma" is never another's.
"""

import re
from uuid import UUID

import phonenumbers

from shared.events import CHANNELS, Channel
from shared.runtime.callers import Caller
from shared.runtime.errors import Forbidden, Unprocessable

#: Scopes: order for anybody over any channel; for guests and one's own buyers.
ANY_BUYER, OWN_BUYERS = "orders:operate", "orders:place_for"
#: Begins the scope for one channel; a token with none of them orders over `DEFAULT_CHANNEL`.
CHANNEL_SCOPE = "channel:"
DEFAULT_CHANNEL: Channel = "online"
LONGEST_ID = 64
_ID = re.compile(f"[A-Za-z0-9][A-Za-z0-9._:|-]{{0,{LONGEST_ID - 1}}}")
#: Digits that could be a telephone number, alone or after a word such as `tel:`.
_NUMBER = re.compile("([A-Za-z._:/#|-]*)([0-9][0-9._:/#|-]*)")
#: A number with fewer digits can be dialled only within its town.
_FEWEST_DIGITS = 10


class NotYourBuyer(Forbidden):
    """Raised when a token orders or asks in the name of a buyer who is not its bearer's."""


class NotYourChannel(Forbidden):
    """Raised when a token orders over a channel that it is not for."""


class NotYourSite(Forbidden):
    """Raised when a token that belongs to sites orders from another one."""


class UnfitPartner(Forbidden):
    """Raised when the subject of a partner's token must not be published."""


class UnfitBuyer(Unprocessable):
    """Raised when a buyer's id is malformed or must not be published."""


def buyer_of(caller: Caller, buyer_id: str | None) -> str | None:
    """Return the id of the buyer for whom `caller` orders; None: a guest.

    Raises:
        NotYourBuyer: the caller orders for itself alone, and named somebody else.
        UnfitBuyer: the id is malformed or too long, or is a telephone number.
    """
    if caller.may(ANY_BUYER):
        return None if buyer_id is None else _checked(buyer_id)
    if caller.may(OWN_BUYERS):
        return None if buyer_id is None else own_buyer(caller, buyer_id)
    if buyer_id not in (None, caller.subject):
        raise NotYourBuyer(
            "This token orders for its own bearer; leave buyer_id out. A shop that orders for "
            f"its buyers needs a token with the scope {OWN_BUYERS}."
        )
    return _checked(caller.subject)


def own_buyer(caller: Caller, buyer_id: str) -> str:
    """Return the id under which a caller's own buyer is kept: the caller's, a colon, the buyer's.

    Raises:
        UnfitBuyer: the id is malformed or too long, or is a telephone number.
    """
    prefix = f"{_checked(caller.subject)}:"
    return _checked(prefix + _checked(buyer_id.removeprefix(prefix)))


def partner_of(caller: Caller) -> str | None:
    """Return the partner that `caller` is: the subject of a token that orders for its own buyers.

    None for operators, and for callers who belong to sites: a station's clerk is no partner.

    Raises:
        UnfitPartner: the subject is malformed or too long, or is a telephone number.
    """
    if caller.may(ANY_BUYER) or not caller.may(OWN_BUYERS) or caller.sites is not None:
        return None
    if _ID.fullmatch(caller.subject) is None or names_a_phone(caller.subject):
        raise UnfitPartner(
            f"The subject of this token is published with each order; it must have 1 to "
            f"{LONGEST_ID} letters, digits or . _ : | - and be no telephone number. Ask the "
            "operator for a token with another subject."
        )
    return caller.subject


def channel_of(caller: Caller, channel: Channel | None) -> Channel:
    """Return the channel over which `caller` orders; None: the token's only channel, or
    `DEFAULT_CHANNEL`.

    Raises:
        NotYourChannel: the token does not allow this channel.
    """
    may = CHANNELS if caller.may(ANY_BUYER) else _channels(caller)
    chosen = channel or (may[0] if len(may) == 1 else DEFAULT_CHANNEL)
    if chosen not in may:
        raise NotYourChannel(
            f"This token orders over {' or '.join(may)}, not over {chosen}; another channel "
            f"needs a token with the scope {CHANNEL_SCOPE}{chosen}."
        )
    return chosen


def check_site(caller: Caller, site_id: UUID) -> None:
    """Pass when a caller may order goods that this site delivers or hands over.

    Raises:
        NotYourSite: the caller belongs to other sites.
    """
    if caller.sites is not None and site_id not in caller.sites:
        raise NotYourSite(
            f"This token belongs to other sites than {site_id}; name one of its own, or use the "
            "token of somebody who belongs there."
        )


def _channels(caller: Caller) -> tuple[Channel, ...]:
    given = tuple(name for name in CHANNELS if caller.may(CHANNEL_SCOPE + name))
    return given or (DEFAULT_CHANNEL,)


def _checked(buyer_id: str) -> str:
    if _ID.fullmatch(buyer_id) is None:
        raise UnfitBuyer(
            f"A buyer's id has 1 to {LONGEST_ID} letters, digits or . _ : | - and begins with a "
            "letter or digit; of a buyer's own token it is the subject."
        )
    if names_a_phone(buyer_id):
        raise UnfitBuyer(
            "A buyer's id is published with each order, and this one is a telephone number; "
            "give the buyer an id that says nothing of their person."
        )
    return buyer_id


def names_a_phone(text: str) -> bool:
    """Tell whether an id is a telephone number, with or without signs and a word before it."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return False
    digits = re.sub("[^0-9]", "", match[2])
    if len(digits) < _FEWEST_DIGITS:
        return False
    # After a word, as in "card-447911123456", only a Chinese number counts.
    return _is_valid(digits, "CN") or (not match[1] and _is_valid(f"+{digits}", None))


def _is_valid(digits: str, region: str | None) -> bool:
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return False
    # A land line needs a 0 or the country's code: otherwise "2026113012" would be one.
    dialled = digits[0] in "+0" or digits.startswith("86") or number.country_code != 86
    mobile = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.MOBILE
    return phonenumbers.is_valid_number(number) and (dialled or mobile)
