"""What messages say, in zh, bo and en: gettext catalogues beside this file, and how values look.

A text that a language lacks is shown in the first language that has it, marked like 〔zh〕, so
that the gap is seen and the reader still learns what happened. Values are written the way of
the language of the text around them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from babel.dates import format_date
from babel.messages.pofile import read_po

#: In which languages a text is looked for after the reader's own.
FALLBACKS = ("zh", "en")


class Incomplete(LookupError):
    """Raised when a text needs a fact that is not known yet."""


@dataclass(frozen=True)
class Line:
    """A quantity of one variant, with its product's names."""

    names: Mapping[str, str]
    grade: str
    unit: str
    quantity: int


@dataclass(frozen=True)
class Facts:
    """Everything that a text may mention; None: not known (yet)."""

    order_ref: str | None = None
    lines: Sequence[Line] | None = None
    total_fen: int | None = None
    due_fen: int | None = None
    amount_fen: int | None = None
    collect: bool | None = None
    site: Mapping[str, str] | None = None
    promised_on: date | None = None
    code: str | None = None
    #: Why an order was rejected, as a code.
    reason: str | None = None
    #: Codes of recalled lots.
    lots: Sequence[str] | None = None


@dataclass(frozen=True)
class Text:
    """A message as a person reads it."""

    language: str
    title: str
    body: str


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return the texts of a language by key; those not translated are absent."""
    with (Path(__file__).parent / f"{language}.po").open("rb") as file:
        entries = read_po(file, locale=language, abort_invalid=True)
    return {str(entry.id): str(entry.string) for entry in entries if entry.id and entry.string}


def render(template: str, language: str, facts: Facts) -> Text:
    """Return the text of a message in `language`, with visible marks where it has none.

    Raises:
        Incomplete: the text mentions something that `facts` does not hold.
    """
    return Text(
        language=language,
        title=_fill(f"{template}.title", language, facts),
        body=_fill(f"{template}.body", language, facts),
    )


def _fill(key: str, language: str, facts: Facts) -> str:
    for found in dict.fromkeys((language, *FALLBACKS)):
        text = catalogue(found).get(key)
        if text is not None:
            mark = "" if found == language else f"〔{found}〕"
            # An empty note leaves two spaces behind.
            return mark + " ".join(text.format_map(_Values(facts, found)).split())
    # Tests check that zh has every key; a gap must still not stop the message.
    return f"〔{key}〕 {facts.order_ref or ''}".rstrip()


class _Values(Mapping[str, str]):
    """The values of a text's placeholders, formatted for one language."""

    def __init__(self, facts: Facts, language: str) -> None:
        self._facts = facts
        self._language = language

    def __getitem__(self, name: str) -> str:
        return PLACEHOLDERS[name](self._facts, self._language)

    def __iter__(self) -> Iterator[str]:
        return iter(PLACEHOLDERS)

    def __len__(self) -> int:
        return len(PLACEHOLDERS)


def money(fen: int) -> str:
    """Return an amount such as `¥1,680.00`, the same in all three languages."""
    return f"¥{fen // 100:,}.{fen % 100:02d}"


def _decimal(amount: int, per: int) -> str:
    """Return `amount / per` exactly, for a `per` that is a power of ten or 500."""
    scaled, digits = (amount * 2, 1000) if per == 500 else (amount, per)
    whole, rest = divmod(scaled, digits)
    fraction = f"{rest:0{len(str(digits)) - 1}d}".rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def quantity(amount: int, unit: str, language: str) -> str:
    """Return grams as grams or kilograms (in zh also jin, 500 g), and pieces as pieces."""
    if unit == "piece":
        return {"zh": f"{amount}件", "bo": f"གྲངས་{amount}"}.get(
            language, f"{amount} piece" if amount == 1 else f"{amount} pieces"
        )
    if amount < 500:
        return {"zh": f"{amount}克", "bo": f"ཁེ་{amount}"}.get(language, f"{amount} g")
    kilograms = _decimal(amount, 1000)
    return {
        "zh": f"{kilograms}公斤（{_decimal(amount, 500)}斤）",
        "bo": f"སྤྱི་རྒྱ་{kilograms}",
    }.get(language, f"{kilograms} kg")


def day(value: date, language: str) -> str:
    """Return a calendar date without its year.

    The pattern for bo is our own: CLDR's mixes two systems of digits in one date.
    """
    if language == "bo":
        return f"ཟླ་{value.month}ཚེས་{value.day}"
    return format_date(value, {"zh": "M月d日"}.get(language, "d MMMM"), locale=language)


def name(names: Mapping[str, str], language: str) -> str:
    """Return a name in `language`, or the Chinese one, which is always there."""
    return names.get(language) or names["zh"]


def _line(line: Line, language: str) -> str:
    amount = quantity(line.quantity, line.unit, language)
    return f"{name(line.names, language)} [{line.grade}] {amount}"


def _lines(facts: Facts, language: str) -> str:
    every = _known(facts.lines, "lines")
    # A message is no invoice: some gateways cut or refuse what is longer than a few SMS.
    shown = [_line(line, language) for line in every[:5]]
    if len(every) > len(shown):
        shown.append(f"… (+{len(every) - len(shown)})")
    return {"zh": "、", "bo": "། "}.get(language, ", ").join(shown)


def _known(value: Any, what: str) -> Any:
    if value is None:
        raise Incomplete(what)
    return value


def _handover(facts: Facts, language: str) -> str:
    collect = _known(facts.collect, "collect")
    return _fill("note.collect" if collect else "note.deliver", language, facts)


def _payment(facts: Facts, language: str) -> str:
    return _fill("note.due", language, facts) if _known(facts.due_fen, "due") else ""


def _promise(facts: Facts, language: str) -> str:
    return _fill("note.promise", language, facts) if facts.promised_on else ""


def _refusal(facts: Facts, language: str) -> str:
    note = "note.recalled" if facts.reason == "lot_recalled" else "note.out_of_stock"
    return _fill(note, language, facts)


#: Placeholder in the catalogues → how its value is written.
PLACEHOLDERS: Mapping[str, Callable[[Facts, str], str]] = {
    "ref": lambda facts, language: str(_known(facts.order_ref, "order_ref")),
    "lines": _lines,
    "total": lambda facts, language: money(_known(facts.total_fen, "total_fen")),
    "due": lambda facts, language: money(_known(facts.due_fen, "due_fen")),
    "amount": lambda facts, language: money(_known(facts.amount_fen, "amount_fen")),
    "site": lambda facts, language: name(_known(facts.site, "site"), language),
    "date": lambda facts, language: day(_known(facts.promised_on, "promised_on"), language),
    "code": lambda facts, language: str(_known(facts.code, "code")),
    "lots": lambda facts, language: ", ".join(_known(facts.lots, "lots")),
    "refusal": _refusal,
    "handover": _handover,
    "payment": _payment,
    "promise": _promise,
}
