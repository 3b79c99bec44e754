"""Logistics' copy of how goods must be stored."""

from services.logistics.batch import LogisticsBatch
from services.logistics.models import VariantReadModel
from shared.events import ProductListed


def copy_variants(batch: LogisticsBatch, product: ProductListed, sequence: int) -> None:
    """Copy how each variant of a listing is stored; an older listing changes nothing.

    `sequence` is that of the listing among the events of its product.
    """
    for listed in product.variants:
        variant = batch.get_for_update(VariantReadModel.id, listed.variant_id)
        if variant is None:
            variant = VariantReadModel(
                id=listed.variant_id, product_id=product.product_id, listed_in=0
            )
            batch.track(VariantReadModel.id, variant)
        if sequence > variant.listed_in:
            variant.storage, variant.listed_in = listed.storage, sequence
