"""Push: sends the entries of feeds to partners' webhook endpoints."""
