"""Normalisation of text that people type: texts that look the same become the same text.

Each text is normalised before its length is checked and before it is compared or stored. The till
has the same rule (`web/till/static/js`), so that both compare a label alike.
"""

import unicodedata

#: Letters that are invisible: Hangul fillers and Braille's empty cell.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
#: The one invisible combining character that has no use in a label.
_GRAPHEME_JOINER = "\u034f"
_JOINERS = "\u200c\u200d"
_EMOJI_FORM = "\ufe0f"
#: The combining class of viramas; after a virama, a joiner selects the form of a conjunct.
_VIRAMA = 9


def normalised(text: str) -> str:
    """Return `text` in NFC, with single plain spaces inside and none outside.

    White space of any kind, also a line end, becomes a space. Control and format characters are
    dropped. A joiner stays where it has a visible effect: within an emoji, and after a virama. The
    result is empty if no character is visible. The function is idempotent.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    tidy = _tidied(text.translate({ord(letter): _kept(letter) for letter in set(text)}))
    while (again := _tidied(tidy)) != tidy:  # a composition can leave a joiner without effect
        tidy = again
    seen = any(unicodedata.category(each)[0] not in "MZ" and each not in _JOINERS for each in tidy)
    return tidy if seen else ""


def _kept(letter: str) -> str:
    if letter.isspace() or letter in _BLANK:
        return " "
    if letter in _JOINERS:
        return letter
    # Cs: lone surrogates, which UTF-8 cannot encode.
    idle = unicodedata.category(letter) in ("Cc", "Cf", "Cs") or letter == _GRAPHEME_JOINER
    return "" if idle else letter


def _tidied(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if any(joiner in text for joiner in _JOINERS):
        text = unicodedata.normalize("NFC", _without_idle_joiners(text))
    return " ".join(text.split())


def _without_idle_joiners(text: str) -> str:
    kept: list[str] = []
    for letter, following in zip(text, text[1:] + " ", strict=True):
        if letter in _JOINERS:
            before = kept[-1] if kept else " "
            joins = (
                unicodedata.category(before)[0] == "S"
                or before == _EMOJI_FORM
                or unicodedata.combining(before) == _VIRAMA
            )
            if not joins or following in f" {_JOINERS}":
                continue
        kept.append(letter)
    return "".join(kept)
