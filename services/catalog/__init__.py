"""Catalog owns what is sold and how much of it there is: products, prices, lots and stock."""
