"""Where commands print for people: results on stdout, progress and troubles on stderr."""

from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
