"""Atomic writes: a reader always sees a complete file, also after a power cut."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file's content atomically; the new content is on disk on return.

    Several concurrent writers need a lock. The draft of a killed writer is overwritten.

    Raises:
        OSError: the folder cannot be created or written, or is full; the old content stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        # The umask does not apply: `mode` decides which users can read the file.
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename must be on disk, too
    finally:
        os.close(folder)
