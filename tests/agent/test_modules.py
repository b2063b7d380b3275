"""The worker's store of modules: checked, private, and never outside of its folder."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from chutes_jupyter.agent.clean import Cleaner
from chutes_jupyter.agent.history import History
from chutes_jupyter.agent.modules import UNUSED, ModuleError, ModuleStore, place

DATA = b"x = 1\n"
HASH = hashlib.sha256(DATA).hexdigest()


def test_a_file_comes_in_pieces_and_is_checked(tmp_path: Path) -> None:
    store = ModuleStore(str(tmp_path))
    assert store.missing([HASH]) == [HASH]
    store.put(HASH, 0, len(DATA), DATA[:2])
    assert store.missing([HASH]) == [HASH]
    store.put(HASH, 2, len(DATA), DATA[2:])
    assert store.missing([HASH]) == []
    with pytest.raises(ModuleError, match="whole"):
        store.put("0" * 64, 0, len(DATA), DATA)
    assert store.missing(["0" * 64]) == ["0" * 64]


@pytest.mark.parametrize("name", ["../" + "0" * 61, "", "0" * 63, "0" * 65, None, 3])
def test_only_hashes_are_names(tmp_path: Path, name: object) -> None:
    with pytest.raises(ModuleError):
        ModuleStore(str(tmp_path)).put(name, 0, 1, b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize(("offset", "total"), [(-1, 9), (8, 9), (0, 1 << 40), (0, 3)])
def test_pieces_lie_inside(tmp_path: Path, offset: int, total: int) -> None:
    with pytest.raises(ModuleError, match="outside"):
        ModuleStore(str(tmp_path)).put(HASH, offset, total, DATA)


@pytest.mark.parametrize(
    "path", ["../x.py", "/x.py", "a/../../x.py", "a//x.py", "", ".", "a/.", "a\0b", "a\\b"]
)
def test_names_stay_inside(tmp_path: Path, path: str) -> None:
    ModuleStore(str(tmp_path)).put(HASH, 0, len(DATA), DATA)
    (tmp_path / "job").mkdir()
    with pytest.raises(ModuleError, match="not a name"):
        place(str(tmp_path), str(tmp_path / "job" / "modules"), [{"path": path, "sha256": HASH}])
    assert not (tmp_path / "job" / "modules").exists()


def test_what_is_not_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match=r"a\.py.*submit the job again"):
        place(str(tmp_path), str(tmp_path / "modules"), [{"path": "a.py", "sha256": HASH}])


def test_clean_takes_what_nobody_needs(tmp_path: Path) -> None:
    store = ModuleStore(str(tmp_path))
    other = hashlib.sha256(b"").hexdigest()
    store.put(HASH, 0, len(DATA), DATA)
    store.put(other, 0, 0, b"")
    old = time.time() - UNUSED - 60
    os.utime(store.path(HASH), (old, old))
    cleaner = Cleaner(History(str(tmp_path), lambda job, log: None), "0" * 32)
    list(cleaner.remove({"jobs": [], "sweep": True}))
    assert store.missing([HASH, other]) == [HASH]


def test_what_nobody_needs_goes(tmp_path: Path) -> None:
    store = ModuleStore(str(tmp_path))
    store.put(HASH, 0, len(DATA), DATA)
    old = time.time() - UNUSED - 60
    os.utime(store.path(HASH), (old, old))
    assert list(store.sweep()) == [store.path(HASH)]
    store.missing([HASH])
    assert list(store.sweep()) == []
