"""Register enterprises: farmers, cooperatives and companies that bring lots."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from services.catalog.batch import CatalogBatch
from services.catalog.models import Enterprise, Membership
from shared.events import EnterpriseContactGiven
from shared.runtime.errors import Conflict, NotFound, Unprocessable
from shared.runtime.ids import new_id
from shared.runtime.locks import advisory_lock

#: Roles under which an enterprise can have harvested a lot.
PRODUCING = frozenset({"producer", "cooperative", "company"})


class EnterpriseNotFound(NotFound):
    """Raised when no enterprise has this id."""


class EnterpriseCodeTaken(Conflict):
    """Raised when the code belongs to an enterprise with other data."""


class ImpossibleMembership(Unprocessable):
    """Raised when an enterprise cannot be a member: wrong role, or itself."""


class MembershipOverlaps(Conflict):
    """Raised when a producer is a member already in that time."""


def register_enterprise(
    batch: CatalogBatch,
    code: str,
    names: Mapping[str, str],
    roles: Sequence[str],
    region_code: str | None = None,
    licence_no: str | None = None,
    contact: Mapping[str, Any] | None = None,
) -> Enterprise:
    """Register an enterprise; the same data again returns the existing one.

    Its `contact` (phone, language) is published in an internal event and not stored.

    Raises:
        EnterpriseCodeTaken: the code is taken by another.
    """
    advisory_lock(batch.session, "enterprises")
    facts = {
        "names": dict(names),
        "roles": sorted(set(roles)),
        "region_code": region_code,
        "licence_no": licence_no,
    }
    known = batch.session.scalars(select(Enterprise).where(Enterprise.code == code)).one_or_none()
    if known is not None:
        if any(getattr(known, name) != value for name, value in facts.items()):
            raise EnterpriseCodeTaken(
                f"Code {code} belongs to another enterprise; choose another code.",
                enterprise_id=str(known.id),
            )
        return known
    enterprise = Enterprise(id=new_id(), code=code, version=0, memberships=[], **facts)
    batch.session.add(enterprise)
    batch.session.flush()
    if contact is not None:
        record_contact(batch, enterprise, **contact)
    return enterprise


def give_contact(
    batch: CatalogBatch, enterprise_id: UUID, language: str, phone: str | None = None
) -> Enterprise:
    """Publish a new contact of an enterprise; catalog does not store it.

    Raises:
        EnterpriseNotFound: there is none with this id.
    """
    enterprise = _locked_enterprise(batch, enterprise_id)
    record_contact(batch, enterprise, language, phone)
    return enterprise


def record_contact(
    batch: CatalogBatch, enterprise: Enterprise, language: str, phone: str | None = None
) -> None:
    """Publish the contact of an enterprise, whose row is new or locked."""
    batch.record(
        enterprise,
        EnterpriseContactGiven(
            enterprise_id=enterprise.id,
            name=enterprise.names["zh"],
            phone=phone,
            language=language,
        ),
    )


def add_member(
    batch: CatalogBatch,
    enterprise_id: UUID,
    member_id: UUID,
    share_bp: int,
    valid_from: date,
    valid_to: date | None = None,
) -> Membership:
    """Make a producer a member of a cooperative; the same data again changes nothing.

    `share_bp` is the member's share, in basis points, of what the cooperative splits.

    Raises:
        EnterpriseNotFound: there is no enterprise with one of the ids.
        ImpossibleMembership: the first is no cooperative, the second no producer, or both are one.
        MembershipOverlaps: the producer is a member already in that time.
    """
    # Under the cooperative's lock: of two requests for one member only one finds no overlap.
    cooperative = _locked_enterprise(batch, enterprise_id)
    member = batch.session.get(Enterprise, member_id)
    if member is None:
        raise EnterpriseNotFound(f"There is no enterprise {member_id}.")
    if "cooperative" not in cooperative.roles:
        raise ImpossibleMembership(f"{cooperative.code} is no cooperative.")
    if cooperative is member or "producer" not in member.roles:
        raise ImpossibleMembership(f"{member.code} is no producer that could be a member.")
    if valid_to is not None and valid_to < valid_from:
        raise ImpossibleMembership("The membership ends before it begins.")
    terms = (share_bp, valid_from, valid_to)
    for other in cooperative.memberships:
        if other.member_id != member_id:
            continue
        if (other.share_bp, other.valid_from, other.valid_to) == terms:
            return other
        ends_before = other.valid_to is not None and other.valid_to < valid_from
        begins_after = valid_to is not None and valid_to < other.valid_from
        if not (ends_before or begins_after):
            raise MembershipOverlaps(f"{member.code} is a member from {other.valid_from} on.")
    membership = Membership(
        member_id=member_id, share_bp=share_bp, valid_from=valid_from, valid_to=valid_to
    )
    cooperative.memberships.append(membership)
    batch.session.flush()
    return membership


def _locked_enterprise(batch: CatalogBatch, enterprise_id: UUID) -> Enterprise:
    enterprise: Enterprise | None = batch.get_for_update(Enterprise.id, enterprise_id)
    if enterprise is None:
        raise EnterpriseNotFound(f"There is no enterprise {enterprise_id}.")
    return enterprise


def get_enterprise(session: Session, enterprise_id: UUID) -> Enterprise:
    """Return an enterprise with its members.

    Raises:
        EnterpriseNotFound: there is none with this id.
    """
    enterprise = session.get(Enterprise, enterprise_id)
    if enterprise is None:
        raise EnterpriseNotFound(f"There is no enterprise {enterprise_id}.")
    return enterprise


def select_enterprises(code: str | None = None) -> Select[Enterprise]:
    """Return the query for enterprises, all of them or the one with a code."""
    statement = select(Enterprise)
    if code is not None:
        statement = statement.where(Enterprise.code == code)
    return statement
