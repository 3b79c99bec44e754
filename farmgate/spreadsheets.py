"""The kinds of spreadsheets, the service that imports each, and how a header identifies them."""

from dataclasses import dataclass

from shared.runtime.spreadsheets import Form, header


@dataclass(frozen=True)
class Kind:
    """One kind of spreadsheet: its service, and the column that only this kind has."""

    service: str
    column: str


KINDS = {
    "sites": Kind("logistics", "parent_code"),
    "enterprises": Kind("catalog", "roles"),
    "products": Kind("catalog", "category"),
    "prices": Kind("catalog", "price_fen"),
    "lots": Kind("catalog", "harvest_date"),
    "stock": Kind("catalog", "on_hand"),
}


def kind_of(data: bytes, encoding: str | None, separator: str | None) -> str | None:
    """Return the kind of a file by its header, None if the header does not identify it.

    Raises:
        NotCsv: it is a workbook, or its encoding cannot be detected.
        WrongEncoding: it is not in the given encoding.
    """
    by_column = {kind.column: name for name, kind in KINDS.items()}
    names = header(data, by_column, Form(encoding, separator))
    found = [by_column[name] for name in names if name in by_column]
    return found[0] if len(found) == 1 else None
