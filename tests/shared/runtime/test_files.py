"""Files that are whole whenever somebody reads them."""

import os
from pathlib import Path
from stat import S_IMODE

import pytest

from shared.runtime.files import write_whole


def test_a_file_has_its_new_content_and_mode_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    before = os.umask(0o077)
    try:
        write_whole(path, b"old")
        write_whole(path, b"new", 0o444)
    finally:
        os.umask(before)

    assert (path.read_bytes(), S_IMODE(path.stat().st_mode)) == (b"new", 0o444)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("dies_at", ["fsync", "replace"])
def test_who_dies_before_the_last_step_leaves_the_old_content_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def die(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync") if dies_at == "fsync" else (Path, "replace")), die)
        with pytest.raises(KeyboardInterrupt):
            write_whole(path, b"half")
    assert path.read_bytes() == b"old"

    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
