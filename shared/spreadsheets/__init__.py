"""Spreadsheets of real people as CSV: read what can be read safely, refuse the rest by line.

A sheet is a table with a header. A service says which columns there are and which field of its
HTTP schemas each one is, so that a value means the same in a file and in JSON.
"""

from shared.spreadsheets.encodings import CODECS as CODECS
from shared.spreadsheets.encodings import NotCsv as NotCsv
from shared.spreadsheets.encodings import WrongEncoding as WrongEncoding
from shared.spreadsheets.outcome import Change as Change
from shared.spreadsheets.outcome import ImportRefused as ImportRefused
from shared.spreadsheets.outcome import LineError as LineError
from shared.spreadsheets.outcome import Outcome as Outcome
from shared.spreadsheets.reading import MOST_BYTES as MOST_BYTES
from shared.spreadsheets.reading import SEPARATORS as SEPARATORS
from shared.spreadsheets.reading import Column as Column
from shared.spreadsheets.reading import Form as Form
from shared.spreadsheets.reading import Row as Row
from shared.spreadsheets.reading import Sheet as Sheet
from shared.spreadsheets.reading import column as column
from shared.spreadsheets.reading import header as header
from shared.spreadsheets.reading import read as read
from shared.spreadsheets.writing import write as write
