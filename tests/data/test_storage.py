"""What is written is whole or not there, and survives other processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from healthseg.data import storage
from healthseg.data.storage import (
    cache_folder,
    evict,
    is_intact,
    read_json,
    root_for,
    write_folder,
    write_json,
    writing,
)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_json_comes_back_as_it_went(tmp_path):
    write_json(tmp_path / "new" / "k.json", {"a": [1, None]})
    assert read_json(tmp_path / "new" / "k.json") == {"a": [1, None]}
    assert read_json(tmp_path / "new" / "other.json") is None


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "k.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, object())
    with pytest.raises(OSError, match="full"), writing(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")
    assert read_json(path) == 1 and names(tmp_path) == ["k.json"]


def test_files_and_folders_are_flushed_to_disk_before_they_get_their_name(tmp_path, monkeypatch):
    steps = []
    flush, rename, replace = os.fsync, os.rename, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("flush"), flush(handle)))
    monkeypatch.setattr(os, "rename", lambda *paths: (steps.append("rename"), rename(*paths)))
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("rename"), replace(*paths)))
    write_json(tmp_path / "k.json", 1)
    assert steps == ["flush", "rename", "flush"]
    steps.clear()
    write_folder(tmp_path / "k", lambda folder: (folder / "a").write_text("1"))
    assert steps == ["flush", "flush", "flush", "rename", "flush"]


def test_half_a_json_file_or_a_changed_one_counts_as_none(tmp_path):
    path = tmp_path / "k.json"
    write_json(path, {"ä": 1.5})
    whole = path.read_text()
    assert "1.5" in whole
    for text in (
        '{"a":',
        "",
        "\ufffd",
        "[]",
        "7",
        '{"a":1}',
        whole[:-1],
        whole.replace("1.5", "2.5"),
    ):
        path.write_text(text)
        assert read_json(path) is None
    path.write_bytes(b"\xff\xfe")
    assert read_json(path) is None


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "facts" / "k"

    def fill(folder):
        (folder / "a").write_text("1")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_folder(target, fill)
    assert names(tmp_path / "facts") == []
    assert write_folder(target, lambda folder: (folder / "a").write_text("1")) == target
    again = write_folder(target, lambda folder: (folder / "a").write_text("2"))
    assert (again / "a").read_text() == "1" and names(tmp_path / "facts") == ["k"]


def test_the_second_of_two_builders_gets_the_firsts_folder(tmp_path):
    target = tmp_path / "facts" / "k"

    def fill(folder):
        (folder / "a").write_text("late")
        target.mkdir()
        (target / "a").write_text("first")

    assert (write_folder(target, fill) / "a").read_text() == "first"
    assert names(tmp_path / "facts") == ["k"]


def test_a_folder_whose_files_were_cut_changed_or_lost_is_built_again(tmp_path):
    target = tmp_path / "k"

    def fill(folder):
        (folder / "part").mkdir()
        (folder / "part" / "a").write_text("123")
        (folder / "b").write_text("4")

    write_folder(target, fill)
    (target / "added later").write_text("")
    assert is_intact(target)
    damages = (
        lambda: (target / "part" / "a").write_text("1"),
        lambda: (target / "part" / "a").write_text("124"),
        lambda: (target / "b").unlink(),
        lambda: (target / "files.json").unlink(),
        lambda: (target / "files.json").write_text(json.dumps([])),
        lambda: (target / "files.json").write_text("{"),
    )
    for damage in damages:
        damage()
        assert not is_intact(target)
        write_folder(target, fill)
        assert is_intact(target) and (target / "part" / "a").read_text() == "123"


def test_a_large_file_is_read_again_only_where_its_time_of_change_is_another(tmp_path, monkeypatch):
    from healthseg.data import storage

    monkeypatch.setattr(storage, "_LARGE_BYTES", 2)
    target = write_folder(tmp_path / "k", lambda folder: (folder / "a").write_text("123"))
    changed = (target / "a").stat().st_mtime_ns
    (target / "a").write_text("124")
    assert not is_intact(target)
    (target / "a").write_text("123")
    os.utime(target / "a", ns=(changed + 10**9, changed + 10**9))
    assert is_intact(target), "touched, but as it was written"


def test_a_damaged_folder_that_was_replaced_meanwhile_is_not_removed(tmp_path):
    from healthseg.data.storage import _discard

    target = write_folder(tmp_path / "k", lambda folder: (folder / "a").write_text("123"))
    _discard(target)
    assert is_intact(target)
    (target / "a").write_text("1")
    _discard(target)
    assert not target.exists() and names(tmp_path) == []


def test_eviction_spares_what_was_read(tmp_path):
    for key in ("read", "unread"):
        write_json(tmp_path / f"{key}.json", {})
        os.utime(tmp_path / f"{key}.json", (0, 0))
    assert read_json(tmp_path / "read.json") == {}
    assert evict(tmp_path, 30) == 1
    assert read_json(tmp_path / "read.json") == {} and read_json(tmp_path / "unread.json") is None


def test_eviction_removes_what_is_old_and_not_named(tmp_path):
    for key in ("old", "kept", "new"):
        write_json(tmp_path / f"{key}.json", 1)
    (tmp_path / "folder").mkdir()
    for name in ("old.json", "kept.json", "folder"):
        os.utime(tmp_path / name, (time.time() - 9 * 86400,) * 2)
    assert evict(tmp_path, 7, keep={"kept.json"}) == 2
    assert names(tmp_path) == ["kept.json", "new.json"]


def test_the_cache_folder_is_the_variables_or_the_platforms(tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c"
    assert root_for(tmp_path / "absent", "identity", local=False).is_relative_to(tmp_path / "c")
    assert root_for(tmp_path, "identity") == tmp_path
    monkeypatch.delenv("HEALTHSEG_CACHE")
    assert cache_folder().name in ("healthseg", "Healthseg")


def test_what_a_killed_process_had_begun_is_swept_and_what_others_write_is_not(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; from healthseg.data import storage\n"
        "with storage.writing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "half.json")],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(storage.__file__).parents[2])},
    )
    (begun,) = tmp_path.iterdir()
    own = tmp_path / storage.temporary_name("own.json")
    elsewhere = tmp_path / f".other.json.{'0' * 8}.{2**22 + 1}.7"
    folder = begun.with_name(begun.name.replace("half", "folder"))
    for path in (own, elsewhere, tmp_path / ".healthseg", tmp_path / ".env.1.2"):
        path.touch()
    folder.mkdir()
    storage.sweep(tmp_path, tmp_path / "not there")
    assert sorted(tmp_path.iterdir()) == sorted(
        [own, elsewhere, tmp_path / ".healthseg", tmp_path / ".env.1.2"]
    )
