"""Products, lots and stock as CSV: an export is what the import takes.

An import writes all rows or none. A row that is wrong is named with its number, column and
what is wrong; importing a file twice changes nothing the second time.
"""
