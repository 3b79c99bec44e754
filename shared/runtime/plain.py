"""Text as a terminal may get it: what somebody typed can neither command it nor hide in it."""

JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """Return text as one line, with an escape for every character that cannot be seen.

    These are controls, line breaks, spaces other than U+0020, marks that turn the direction of
    writing, and halves of characters. Joiners stay: scripts and emoji need them.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in JOINERS else escaped(each) for each in text
    )


def plain_lines(text: str) -> str:
    """Return text of several lines, each of them plain."""
    return "\n".join(map(plain, text.split("\n")))


def escaped(text: str) -> str:
    r"""Return text as escapes that JSON knows (`\u001b`), so that JSON stays JSON."""
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
