"""Alembic's entry to logistics' tables."""

from services.logistics.models import Base
from shared.migrations import run

run(Base.metadata)
