"""CSV files from spreadsheet programs: unambiguous values are read, others refused by line.

A sheet is a table with a header. A service maps each column to a field of its HTTP schemas, so that
files and JSON have the same checks.
"""

from shared.runtime.spreadsheets.encodings import CODECS as CODECS
from shared.runtime.spreadsheets.encodings import NotCsv as NotCsv
from shared.runtime.spreadsheets.encodings import WrongEncoding as WrongEncoding
from shared.runtime.spreadsheets.outcome import Change as Change
from shared.runtime.spreadsheets.outcome import ImportRefused as ImportRefused
from shared.runtime.spreadsheets.outcome import LineError as LineError
from shared.runtime.spreadsheets.outcome import Outcome as Outcome
from shared.runtime.spreadsheets.reading import MOST_BYTES as MOST_BYTES
from shared.runtime.spreadsheets.reading import SEPARATORS as SEPARATORS
from shared.runtime.spreadsheets.reading import Column as Column
from shared.runtime.spreadsheets.reading import Form as Form
from shared.runtime.spreadsheets.reading import Row as Row
from shared.runtime.spreadsheets.reading import Sheet as Sheet
from shared.runtime.spreadsheets.reading import column as column
from shared.runtime.spreadsheets.reading import header as header
from shared.runtime.spreadsheets.reading import read as read
from shared.runtime.spreadsheets.writing import write as write
