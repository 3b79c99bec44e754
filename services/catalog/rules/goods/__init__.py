"""Rules for products and prices."""
