"""Products, lots and stock as CSV; an import accepts the file of an export.

An import writes all rows or none. A row that is wrong is named with its number, column and
what is wrong; importing a file twice changes nothing the second time.
"""
