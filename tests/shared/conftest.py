"""A service of one table, `things`, with a route for each way in which a request can end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from flask import Flask, Response, abort
from flask.testing import FlaskClient
from marshmallow import fields, validate
from sqlalchemy import BigInteger, MetaData, Text, select
from sqlalchemy import text as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared import web
from shared.events import StockReleased
from shared.messaging.batch import Batch
from shared.runtime import errors, keys
from shared.runtime.bulk import among
from shared.runtime.config import Settings
from shared.runtime.database import Database
from shared.runtime.ids import new_id
from shared.runtime.paging import Page, page
from shared.runtime.tables import NAMING, SharedBase
from shared.web import (
    Blueprint,
    caller,
    grouped,
    idempotent,
    public,
    reading,
    scope,
    transaction,
)
from shared.web.paging import PageRequest, page_of
from shared.web.trace import TraceRequest, TraceResponse, facts

V1 = "/api/things/v1"


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {int: BigInteger(), str: Text()}


class Thing(Base):
    """Something with a weight in grams."""

    __tablename__ = "things"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    grams: Mapped[int]
    version: Mapped[int] = mapped_column(default=0)


class TooHeavy(errors.Conflict):
    """Raised when a thing weighs more than can be carried."""


class ThingNotFound(errors.NotFound):
    """Raised when there is no such thing."""


class AddThingRequest(web.RequestSchema):
    """A thing to add."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    grams = fields.Integer(strict=True, required=True, validate=validate.Range(min=1))
    fragile = fields.Boolean(load_default=False)
    notes = fields.List(fields.String(), load_default=list)
    labels = fields.Dict(load_default=dict)


class ListThingsRequest(PageRequest):
    """Which things to show."""

    heavier_than = fields.Integer(load_default=0)


class ThingResponse(web.ResponseSchema):
    """A thing."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    grams = fields.Integer(required=True)


@dataclass
class Door:
    """Lets a test hold a request inside its route, and count how often it got there."""

    inside: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    entered: int = 0
    #: Whether some names make the route wait or fail.
    names_mean_trouble: bool = True
    #: Done once inside the route, as if by somebody else at the same time.
    meanwhile: Callable[[], None] | None = None
    #: How many things the requests of each group add.
    groups: list[int] = field(default_factory=list)

    def enter(self) -> None:
        """Count a request; let the others come first that were to come meanwhile."""
        self.entered += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()

    def trouble(self, thing: Thing) -> None:
        """Wait or fail, if the thing's name means that."""
        trouble = thing.name if self.names_mean_trouble else ""
        if trouble == "hold":
            self.inside.set()
            assert self.opened.wait(10)
        if trouble == "broken":
            raise RuntimeError("a fault with the phone 13912345678")
        if trouble == "aborted":
            abort(410)
        if trouble == "unavailable":
            raise errors.Unavailable("Later.")


def blueprint_of(door: Door) -> Blueprint:
    blp = Blueprint("things", __name__, url_prefix=V1, description="Things.")

    @blp.post("/things")
    @scope("things:write")
    @idempotent
    @blp.arguments(AddThingRequest)
    @blp.response(201, ThingResponse)
    def add_thing(thing_in: dict[str, Any]) -> tuple[Thing, dict[str, str]]:
        """Add a thing.

        It may not weigh more than 1000 grams.
        """
        thing = Thing(id=new_id(), name=thing_in["name"], grams=thing_in["grams"], version=0)
        with transaction(Batch) as batch:
            door.enter()
            batch.session.add(thing)
            batch.session.flush()
            batch.record(thing, StockReleased(order_id=thing.id, reason="expired"))
            door.trouble(thing)
            if thing.grams > 1000:
                raise TooHeavy("Take less.", most_grams=1000)
        return thing, {"Location": f"{V1}/things/{thing.id}"}

    def load(batch: Batch, things: Sequence[dict[str, Any]]) -> None:
        door.groups.append(len(things))
        names = [each["name"] for each in things]
        batch.session.execute(select(Thing.id).where(among(Thing.name, names)))

    @blp.post("/together")
    @scope("things:write")
    @idempotent
    @blp.arguments(AddThingRequest)
    @grouped(Batch, dict, load)
    @blp.response(201, ThingResponse)
    def add_together(batch: Batch, thing_in: dict[str, Any]) -> tuple[Thing, dict[str, str]]:
        """Add a thing in one transaction with others.

        One that is too heavy is refused; one named "late" only after it has been added.
        """
        thing = Thing(id=new_id(), name=thing_in["name"], grams=thing_in["grams"], version=0)
        door.enter()
        door.trouble(thing)
        if thing.grams > 1000 and thing.name != "late":
            raise TooHeavy("Take less.", most_grams=1000)
        batch.session.add(thing)
        batch.record(thing, StockReleased(order_id=thing.id, reason="expired"))
        if thing.grams > 1000:
            raise TooHeavy("Take less.", most_grams=1000)
        return thing, {"Location": f"{V1}/things/{thing.id}"}

    @blp.get("/things")
    @scope("things:read")
    @blp.arguments(ListThingsRequest, location="query")
    @blp.response(200, page_of(ThingResponse))
    def list_things(query: dict[str, Any]) -> Page[Thing]:
        """List things, the newest first."""
        heavier = select(Thing).where(Thing.grams > query.pop("heavier_than"))
        with reading() as session:
            return page(session, heavier, Thing.id, descending=True, **query)

    @blp.get("/things/<uuid:thing_id>")
    @scope("things:read")
    @blp.response(200, ThingResponse)
    def show_thing(thing_id: UUID) -> Thing:
        """Show a thing."""
        with reading() as session:
            thing = session.get(Thing, thing_id)
        if thing is None:
            raise ThingNotFound("There is no such thing.")
        return thing

    @blp.post("/kept/<int:status>")
    @public
    @idempotent
    @blp.response(200)
    def answer_with(status: int) -> Response:
        """Answer with a status of one's choice."""
        with transaction(Batch) as batch:
            batch.session.add(Thing(id=new_id(), name="kept", grams=1))
        return Response("kept", status)

    @blp.post("/caught")
    @public
    @idempotent
    @blp.response(200)
    def catch() -> Response:
        """Fail, catch it, and answer."""
        try:
            with transaction(Batch) as batch:
                thing = Thing(id=new_id(), name="caught", grams=1, version=0)
                batch.session.add(thing)
                batch.record(thing, StockReleased(order_id=thing.id, reason="expired"))
                batch.session.flush()
                raise TooHeavy("Take less.")
        except TooHeavy:
            return Response("caught", 200)

    @blp.get("/slow")
    @public
    @blp.response(200)
    def wait_long() -> Response:
        """Ask the database for something that takes a minute."""
        with reading() as session:
            session.execute(sql("SELECT pg_sleep(60)"))
        return Response("done")

    @blp.get("/caller")
    @public
    @blp.response(200)
    def who() -> Response:
        """Say who asks."""
        return Response(repr(caller()))

    @blp.get("/words/<string:word>")
    @public
    @blp.response(200)
    def say(word: str) -> Response:
        """Say a word of a path that is a secret."""
        return Response(word)

    @blp.get("/trace/<uuid:order_id>")
    @scope("operate")
    @blp.arguments(TraceRequest, location="query")
    @blp.response(200, TraceResponse)
    def trace(query: dict[str, Any], order_id: UUID) -> dict[str, Any]:
        """Show what is known of an order."""
        with reading() as session:
            known = facts(session, [f"order/{order_id}", *query["subject"]])
        return {"service": "things", "state": {}, "waiting_for": [], **known}

    return blp


@pytest.fixture(scope="session")
def _postgres_of_things(postgres: Callable[[str], str]) -> str:
    return postgres("things")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of the service of things, on an empty database, with keys of its own."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/things.db"
    else:
        url = request.getfixturevalue("_postgres_of_things")
    keys.ensure(tmp_path)
    environment = {"FARMGATE_DATA": str(tmp_path), "FARMGATE_THINGS_DATABASE_URL": url}
    return Settings.from_environment("things", environment)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The service's database, with its tables."""
    opened = Database(settings.database_url)
    if not opened.is_sqlite:
        with opened.sessions.begin() as session:
            session.execute(sql("DROP SCHEMA public CASCADE"))
            session.execute(sql("CREATE SCHEMA public"))
    for metadata in (Base.metadata, SharedBase.metadata):
        metadata.create_all(opened.engine)
    yield opened
    opened.close()


@pytest.fixture
def door() -> Door:
    """The door of the route that adds things."""
    return Door()


@pytest.fixture
def another_app(
    settings: Settings, database: Database, door: Door
) -> Iterator[Callable[[], Flask]]:
    """Make applications of the service, on one database; they share no memory."""
    made: list[Flask] = []

    def make() -> Flask:
        made.append(web.create_app("things", "Things", [blueprint_of(door)], settings))
        return made[-1]

    yield make
    for app in made:
        app.extensions["farmgate"].database.close()


@pytest.fixture
def app(another_app: Callable[[], Flask]) -> Flask:
    """The service's application."""
    return another_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """HTTP calls to the service."""
    return app.test_client()


@pytest.fixture
def token(settings: Settings) -> Callable[..., dict[str, str]]:
    """Make request headers: a token with these scopes, and a fresh Idempotency-Key."""

    def issue(*scopes: str, subject: str = "operator", seconds: int = 600) -> dict[str, str]:
        signed = keys.issue_token(settings.data, subject, scopes, seconds)
        return {"Authorization": f"Bearer {signed}", "Idempotency-Key": str(uuid4())}

    return issue


@pytest.fixture
def names(database: Database) -> Callable[[], list[str]]:
    """Ask for the names of the things there are."""

    def read() -> list[str]:
        with database.readers() as session:
            return list(session.scalars(select(Thing.name).order_by(Thing.id)))

    return read


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """Ask for the lines that were logged since the last call."""
    import json

    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    return read
