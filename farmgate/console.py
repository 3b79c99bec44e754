"""Where commands print for people: results on stdout, progress and troubles on stderr."""

import sys

from rich.console import Console

#: Columns of a table that is piped or written to a file; a terminal says its own.
WIDTH = 110

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH)
