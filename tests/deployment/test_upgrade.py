"""A newer version with a migration, while orders come in; and the older one afterwards."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.conftest import ROOT, SERVERS, connect, orders_coming_in

VERSION = "tests-next"
REVISION = '''"""What a newer version may do: a column that nobody has to give."""

import sqlalchemy as sa
from alembic import op

revision = "orders_9999"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    op.add_column("orders", sa.Column("tests_note", sa.Text(), nullable=True))
'''


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return this tree with one more migration of orders."""
    tree = tmp_path_factory.mktemp("newer") / "farmgate"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    revision = tree / "services/orders/migrations/versions/9999_note.py"
    revision.write_text(REVISION.format(before=head(tree)), encoding="utf-8")
    return tree


@pytest.fixture(scope="module")
def upgraded(deployment, passwords, newer: Path) -> Iterator[None]:
    """Upgrade while orders come in, as docs/deployment.md says; go back to the old data after."""
    next_version = {"tree": newer, "FARMGATE_VERSION": VERSION}
    deployment.must("build", seconds=600, **next_version)
    with orders_coming_in(deployment, passwords("database-orders"), orders=60):
        deployment.must("up", "-d", **next_version)
    deployment.environment["FARMGATE_VERSION"] = VERSION
    yield
    del deployment.environment["FARMGATE_VERSION"]
    with connect(deployment, "orders", passwords("database-orders"), "orders") as orders:
        orders.execute("ALTER TABLE orders DROP COLUMN tests_note")
        orders.execute("UPDATE alembic_version SET version_num = %s", (head(ROOT),))
    deployment.must("up", "-d")


def head(tree: Path) -> str:
    """Return the newest revision of orders in a tree."""
    versions = tree / "services/orders/migrations/versions"
    number = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*.py"))
    return f"orders_{number}"


@pytest.mark.usefixtures("upgraded")
def test_an_upgrade_with_a_migration_keeps_taking_orders(deployment, passwords):
    with connect(deployment, "orders", passwords("database-orders"), "orders") as orders:
        assert orders.execute("SELECT version_num FROM alembic_version").fetchone() == (
            "orders_9999",
        )
    images = {
        name: deployment.inspect(name)["Config"]["Image"].partition(":")[2]
        for name in SERVERS
        if name not in ("gateway", "rabbitmq", "postgres")
    }
    assert set(images.values()) == {VERSION}
    deployment.demo(5)
    deployment.verify()


@pytest.mark.usefixtures("upgraded")
def test_the_version_before_refuses_the_newer_database_and_says_so(deployment):
    done = deployment.compose(
        "run", "--rm", "-T", "--no-deps", "orders-migrate", FARMGATE_VERSION="dev"
    )
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert "of another version of Farmgate" in told, told
    assert "Traceback" not in told
