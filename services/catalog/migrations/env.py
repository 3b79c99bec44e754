"""Alembic's entry: catalog's own history."""

from services.catalog.models import Base
from shared.migrations import run

run(Base.metadata)
