"""Logistics' copy of how goods must be stored."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from services.logistics.models import Variant
from shared.messaging.rows import locked, remember


def note_storage(
    session: Session, product_id: UUID, variants: Sequence[Mapping[str, Any]], listed_in: int
) -> None:
    """Remember how each variant of a listing is stored; an older listing changes nothing."""
    for listed in variants:
        variant = locked(session, Variant.id, listed["variant_id"])
        if variant is None:
            variant = Variant(id=listed["variant_id"], product_id=product_id, listed_in=0)
            remember(session, Variant.id, variant)
        if listed_in > variant.listed_in:
            variant.storage, variant.listed_in = listed["storage"], listed_in
