"""Routes for enterprises, products and prices."""
