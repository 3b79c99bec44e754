"""Text that is safe to print on a terminal: without control sequences or invisible characters."""

JOINERS = "\u200c\u200d"


def plain(text: str) -> str:
    """Return text as one line, with an escape for every invisible character.

    These are control characters, line breaks, spaces other than U+0020, direction marks and lone
    surrogates. Joiners stay: scripts and emoji need them.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in JOINERS else escaped(each) for each in text
    )


def plain_lines(text: str) -> str:
    """Return text of several lines, with `plain` applied to each."""
    return "\n".join(map(plain, text.split("\n")))


def escaped(text: str) -> str:
    r"""Return text as JSON escapes (`\u001b`), so that JSON stays valid."""
    units = text.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
