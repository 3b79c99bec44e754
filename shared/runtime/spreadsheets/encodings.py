"""Detects the encoding of a CSV file from its bytes."""

import codecs

from shared.runtime.errors import BadRequest, Unprocessable

#: The names that a client may send → codecs. GB18030 is a superset of GBK, and GBK of GB 2312.
CODECS = {
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "big5": "big5",
}
#: The first bytes of workbooks, the default format of spreadsheet programs.
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
#: The share of common Chinese or Tibetan characters among all that are not ASCII, from which on a
#: text counts as GB18030: text in another encoding decodes to rare characters.
_COMMON = 0.75
_SAMPLE = 65_536


class NotCsv(BadRequest):
    """Raised when a file is no CSV, or its encoding cannot be detected."""


class WrongEncoding(Unprocessable):
    """Raised when a file is not in the encoding that the client named."""


def codec_of(data: bytes, named: str | None = None) -> str:
    """Return the codec of a file: the named one, or one detected from its bytes.

    Raises:
        NotCsv: it is a workbook, or its encoding cannot be detected.
        WrongEncoding: it is not in the named encoding.
    """
    if data.startswith(_WORKBOOKS):
        raise NotCsv("The file is a workbook, not CSV. Save it as `CSV UTF-8` and send that.")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        wide: str | None = "utf-16"
    elif _zeros(data[0:_SAMPLE:2]):
        wide = "utf-16-be"
    else:
        wide = "utf-16-le" if _zeros(data[1:_SAMPLE:2]) else None
    if named is not None:
        codec = (wide or "utf-16-le") if named == "utf-16" else CODECS[named]
        if not _decodes(data, codec):
            raise WrongEncoding(
                f"The file is not in {named}. Leave the encoding out or name another."
            )
        return codec
    guesses = ("utf-8-sig", "gb18030") if wide is None else (wide,)
    for codec in guesses:
        if _decodes(data, codec) and (codec != "gb18030" or _is_chinese(data)):
            return codec
    raise NotCsv(
        "The file is not in UTF-8, and its encoding cannot be detected. Save it as `CSV UTF-8`, "
        f"or name its encoding: {', '.join(CODECS)}."
    )


def _zeros(data: bytes) -> bool:
    return data.count(0) * 3 > len(data) > 0


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeError:
        return False
    return True


def _is_chinese(data: bytes) -> bool:
    letters = [letter for letter in data.decode("gb18030")[:_SAMPLE] if not letter.isascii()]
    common = sum("\u0f00" <= letter <= "\u0fff" or _in_gb2312(letter) for letter in letters)
    return common >= _COMMON * len(letters)


def _in_gb2312(letter: str) -> bool:
    try:
        letter.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True
