"""What PostgreSQL and RabbitMQ did meanwhile.

Statements, round trips, transactions, rows, bytes of the write-ahead log; messages in and out.
"""

import re
import shutil
import subprocess
import threading
from types import TracebackType

from benchmarks.surroundings import Surroundings, System

#: Seconds between looks at the sockets; what one sent after the last look is not counted.
LOOK = 0.1
STATEMENTS = "pg_stat_statements"
#: RabbitMQ's counters of all protocols and kinds of queues, by what they are called here.
MESSAGES = {
    "messages to the broker": ("messages_received_total",),
    "messages put into queues": ("messages_routed_total",),
    "messages to consumers": (
        "messages_delivered_consume_manual_ack_total",
        "messages_delivered_consume_auto_ack_total",
    ),
}


def prepare(surroundings: Surroundings) -> None:
    """Load the extension that counts statements, if the server has it; it counts nothing yet."""
    with surroundings.sql() as connection:
        found = connection.execute(
            "SELECT FROM pg_available_extensions WHERE name = %s", (STATEMENTS,)
        ).fetchone()
        if found is None:
            return
        connection.execute(f"ALTER SYSTEM SET shared_preload_libraries = {STATEMENTS}".encode())
    surroundings.restart_postgres()
    with surroundings.sql() as connection:
        connection.execute(f"CREATE EXTENSION {STATEMENTS}".encode())
    _track(surroundings, "none")


def _track(surroundings: Surroundings, which: str) -> None:
    with surroundings.sql() as connection:
        connection.execute(f"ALTER SYSTEM SET {STATEMENTS}.track = '{which}'".encode())
        connection.execute("SELECT pg_reload_conf()")


class Counting:
    """Counts while it is entered; `counts` then returns the sums of one system's databases.

    Round trips are what clients sent, each in one piece, as the kernel counts it (`ss`, Linux).
    """

    def __init__(self, surroundings: Surroundings, system: System) -> None:
        self.surroundings = surroundings
        self._databases = [
            system.environment[name].rpartition("/")[2]
            for name in system.environment
            if name.endswith("_DATABASE_URL")
        ]
        with surroundings.sql() as connection:
            query = "SELECT FROM pg_extension WHERE extname = %s"
            self._statements = connection.execute(query, (STATEMENTS,)).fetchone() is not None
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._watch_sockets)
        self._sent: dict[str, int] = {}

    def __enter__(self) -> "Counting":
        if self._statements:
            _track(self.surroundings, "top")
            with self.surroundings.sql() as connection:
                connection.execute("SELECT pg_stat_statements_reset()")
        self._before = self._read() | self._messages()
        self._sent_before = self._look()
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._watch.join()
        if self._statements:
            _track(self.surroundings, "none")

    def counts(self) -> dict[str, int]:
        """Return the counts so far, by name."""
        now = self._read() | self._messages()
        found = {name: now[name] - self._before[name] for name in now}
        self._sent |= self._look()
        if self._sent:
            found["round trips"] = sum(
                count - self._sent_before.get(socket, 0) for socket, count in self._sent.items()
            )
        return found

    def _read(self) -> dict[str, int]:
        with self.surroundings.sql() as connection:
            row = connection.execute(
                "SELECT sum(xact_commit), sum(tup_inserted + tup_updated + tup_deleted), "
                "pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') "
                "FROM pg_stat_database WHERE datname = ANY(%s)",
                (self._databases,),
            ).fetchone()
            assert row is not None
            names = ("transactions", "rows written", "bytes of write-ahead log")
            found = dict(zip(names, map(int, row), strict=True))
            if not self._statements:
                return found
            row = connection.execute(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements "
                "WHERE dbid IN (SELECT oid FROM pg_database WHERE datname = ANY(%s))",
                (self._databases,),
            ).fetchone()
            assert row is not None
            return {"statements": int(row[0]), **found}

    def _messages(self) -> dict[str, int]:
        """Return how many messages the broker has received, put into queues and delivered."""
        sums = ",".join(
            "lists:sum([maps:get(Name, Counters, 0)"
            " || Counters <- maps:values(rabbit_global_counters:overview()),"
            f" Name <- [{','.join(names)}]])"
            for names in MESSAGES.values()
        )
        printed = self.surroundings.broker.ctl("eval", f"{{{sums}}}.")
        return dict(zip(MESSAGES, map(int, re.findall(r"\d+", printed)), strict=True))

    def _watch_sockets(self) -> None:
        while not self._stopping.wait(LOOK):
            self._sent |= self._look()

    def _look(self) -> dict[str, int]:
        """Return how many pieces each client of the server has sent, by its address."""
        program = shutil.which("ss")
        if program is None:
            return {}
        lines = subprocess.run(
            [program, "-OtniH", f"dport = :{self.surroundings.postgres.port}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        found = {}
        for line in lines:
            sent = re.search(r"data_segs_out:(\d+)", line)
            found[line.split()[3]] = int(sent[1]) if sent else 0
        return found
