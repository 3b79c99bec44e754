"""What a story has: its tills, their way to the centre, events, and what ought to be."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine

from demo.offline.device import CannotSell, NoAnswer, PowerCut, Till
from demo.offline.store import Store
from farmgate.failures import Refused
from tests.stations.model.chance import Chance
from tests.stations.ought import Key, OfLot, Ought, Quota, plain

ON_THE_BUS = (
    *[("relay", "orders"), ("consume", "catalog")] * 3,
    *[("relay", "catalog"), ("consume", "orders"), ("consume", "logistics")],
)


@dataclass
class Machine:
    """One till of the story. Two of them may be one device: a clone, or a replaced machine."""

    till: Till
    backups: list[Store] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"{self.till.store.device_code}/{self.till.store.epoch}"

    @property
    def key(self) -> Key:
        return plain(self.till.store.device_id), self.till.store.epoch


def by_lot(machine: Machine, allotment_ids: Iterable[str]) -> list[str]:
    """Return allotments in an order that is the same in every run."""
    allotments = machine.till.store.allotments
    return sorted(allotment_ids, key=lambda each: allotments[each].lot_code)


class Story(RuleBasedStateMachine):
    """Plays in the services of `centre`; `told` counts what happened."""

    def __init__(self, centre: Any, shop: Any, clock: Any, told: Counter[str]) -> None:
        super().__init__()
        self.centre, self.shop, self.clock, self.told = centre, shop, clock, told
        self.steps = 0
        self.ought = Ought()
        self.ought.may_grant_again = self._may_grant_again
        self.fault, self.cut_in = "none", -1
        self.sent: list[tuple[Any, ...]] = []
        self.machines: list[Machine] = []
        #: Epochs of which somebody made a second copy, or an older one.
        self.forged: set[Key] = set()
        #: Whose goods were taken away and that have not heard of it; and whose ever were.
        self.unheard: set[OfLot] = set()
        self.taken_away: set[Key] = set()
        self.orders: list[str] = []
        #: Sites and variants of which so much is kept by a standing rule.
        self.kept: set[tuple[str, str]] = set()

    # --- Tills and their way to the centre ----------------------------------------------------

    def _till(self, store: Store | None) -> Till:
        return Till(self._send, store, cut=self._cut)

    def _cut(self, what: str) -> None:
        self.cut_in -= 1
        if self.cut_in == 0:
            raise PowerCut(what)

    def _send(self, *request: Any) -> Any:
        self.sent.append(request)
        if self.fault == "lost":
            raise NoAnswer
        if self.fault == "portal":
            return "<html>Welcome</html>"
        answer = self._deliver(*request)
        if self.fault == "doubled":
            answer = self._deliver(*request)
        if self.fault == "unanswered":
            raise NoAnswer
        return answer

    def _deliver(self, service: str, method: str, path: str, body: Any, token: str | None) -> Any:
        before = self._available()
        answer = self.centre.send(service, method, path, body, token)
        assert self._available() >= before, "a device took from what is for everybody"
        if path == "/till/entries":
            key = plain(answer["device_id"]), answer["epoch"]
            self.ought.upload(key, body["entries"], answer["answers"])
        elif path == "/till/returns":
            self._note_returns(body["returns"], answer["answers"])
        return answer

    def _note_returns(self, returns: list[Any], answers: list[Any]) -> None:
        for given, answer in zip(returns, answers, strict=True):
            assert given["return_id"] == answer["return_id"]
            quota = self._quota_of(given["allotment_id"])
            if answer["status"] == "accepted":
                quota.returned += given["quantity"]
            elif answer["status"] == "disputed":
                assert quota.remaining < given["quantity"] or self.taken_away

    def _quota_of(self, allotment_id: str) -> Quota:
        statement = "SELECT device_id, epoch, lot_id FROM allotments WHERE id = :id"
        row = self.centre.rows("catalog", statement, id=plain(allotment_id))[0]
        return self.ought.quota((row.device_id, row.epoch), row.lot_id)

    def _available(self) -> int:
        return int(self.centre.rows("catalog", "SELECT sum(available) FROM stock_levels")[0][0])

    def _try(self, machine: Machine, fault: str, work: Callable[[], Any], cut_in: int = -1) -> bool:
        """Let a till do something while something may go wrong; tell whether it was done."""
        self.fault, self.cut_in = fault, cut_in
        try:
            work()
            return True
        except (NoAnswer, CannotSell):
            return False
        except Refused as problem:
            assert problem.status in (401, 403), problem.message
            return False
        except PowerCut:
            machine.till = self._till(machine.till.snapshot())
            return False
        finally:
            self.fault, self.cut_in = "none", -1

    # --- Events -------------------------------------------------------------------------------

    def _pass_on(self, chance: Chance) -> None:
        for deed, service in chance.some(ON_THE_BUS, 2, 6):
            most, forget = chance.choice((500, 500, 3, 1)), chance.random() < 0.2
            note(f"{service} does: {deed}, at most {most}, then forgets: {forget}")
            if deed == "relay":
                self.centre.relay(service, most, forget=forget)
            else:
                self._consume(service, most, forget=forget)

    def _consume(self, consumer: str, most: int = 500, *, forget: bool = False) -> None:
        running = self._running() if consumer == "catalog" else set()
        self.ought.may_grant_again = running.__contains__
        for event in self.centre.consume(consumer, most, forget=forget):
            if consumer == "catalog":
                self.ought.hear(event)

    def _may_grant_again(self, which: OfLot) -> bool:
        return which in self._running()

    def _running(self) -> set[OfLot]:
        """Return what is granted again when goods come back to the counter."""
        rows = self.centre.rows(
            "catalog",
            "SELECT a.device_id, a.epoch, a.lot_id FROM allotments a "
            "JOIN devices d ON d.id = a.device_id JOIN lots l ON l.id = a.lot_id "
            "WHERE a.status IN ('granted', 'active') AND l.status = 'released' "
            "AND d.status = 'active' AND d.epoch = a.epoch",
        )
        return {(row.device_id, row.epoch, row.lot_id) for row in rows}

    def _settle_events(self) -> None:
        while not self.centre.is_quiet:
            for name in self.centre.apps:
                self.centre.relay(name)
            for name in self.centre.apps:
                self._consume(name)
