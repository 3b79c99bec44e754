"""Alembic's entry to orders' tables."""

from services.orders.models import Base
from shared.migrations import run

run(Base.metadata)
