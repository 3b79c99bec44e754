"""The shell: every file that the till needs to open without a network, each with its digest.

A till keeps one complete version, never a mixture. By the digests it refuses what a captive portal
answers in place of a file.
"""

import json
from base64 import b64encode
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from flask import current_app, render_template, url_for

STATIC = Path(__file__).parent / "static"
#: The worker's code; the list of files is written before it.
WORKER = STATIC / "worker.js"
BOOTSTRAP_CSS = "css/bootstrap.min.css"


def page() -> str:
    """Return the page; it names its version, which the till tells the centre."""
    return render_template("till.html", version=version("farmgate"))


def files() -> dict[str, bytes]:
    """Return the shell's files: address → content."""
    bootstrap = Path(current_app.blueprints["bootstrap"].static_folder or "")
    found = {
        url_for("till.page"): page().encode(),
        url_for("bootstrap.static", filename=BOOTSTRAP_CSS): (
            bootstrap / BOOTSTRAP_CSS
        ).read_bytes(),
    }
    for path in sorted(STATIC.rglob("*")):
        if path.is_file() and path != WORKER:
            name = path.relative_to(STATIC).as_posix()
            found[url_for("till.static", filename=name)] = path.read_bytes()
    return found


def worker() -> str:
    """Return the service worker of the present version."""
    digests = {
        address: b64encode(sha256(content).digest()).decode()
        for address, content in files().items()
    }
    # Bootstrap's addresses stay the same in a new version, so the digest covers its version, too.
    named = f"{version('Bootstrap-Flask')}\n{json.dumps(digests, sort_keys=True)}"
    code = WORKER.read_text(encoding="utf-8")
    name = sha256((named + code).encode()).hexdigest()[:16]
    return (
        f"const VERSION = {json.dumps(name)};\nconst FILES = {json.dumps(digests, indent=2)};\n\n"
        f"{code}"
    )
