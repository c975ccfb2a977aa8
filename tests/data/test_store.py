"""What the store holds is whole or not there, and survives other processes."""

from __future__ import annotations

import os
import time

import pandas as pd
import pytest

from healthseg.data.store import Store, cache_folder, root_for


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def names(store: Store, level: str) -> list[str]:
    return sorted(path.name for path in (store.folder / level).iterdir())


def test_frames_and_json_come_back_as_they_went(store):
    frame = pd.DataFrame({"client_id": ["a", "b"], "score": [1.5, None]})
    store.put_frame("panel", "k", frame)
    store.put_json("responses", "k", {"a": [1, None]})
    pd.testing.assert_frame_equal(store.get_frame("panel", "k"), frame)
    assert store.get_json("responses", "k") == {"a": [1, None]}
    assert (
        store.get_frame("panel", "other") is None and store.get_json("responses", "other") is None
    )


def test_a_write_that_fails_leaves_what_was_there(store):
    store.put_json("responses", "k", 1)
    with pytest.raises(TypeError):
        store.put_json("responses", "k", object())
    assert store.get_json("responses", "k") == 1 and names(store, "responses") == ["k.json"]


def test_half_a_json_file_counts_as_none(store):
    store.put_json("responses", "k", {"a": 1})
    store.path("responses", "k", ".json").write_text('{"a":')
    assert store.get_json("responses", "k") is None


def test_a_folder_is_there_whole_or_not_at_all(store):
    def fill(folder):
        (folder / "a").write_text("1")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        store.make_folder(store.path("facts", "k"), fill)
    assert names(store, "facts") == []
    made = store.make_folder(
        store.path("facts", "k"), lambda folder: (folder / "a").write_text("1")
    )
    again = store.make_folder(made, lambda folder: (folder / "a").write_text("2"))
    assert (again / "a").read_text() == "1" and names(store, "facts") == ["k"]


def test_the_second_of_two_makers_finds_the_firsts_folder(store):
    target = store.path("facts", "k")

    def fill(folder):
        (folder / "a").write_text("late")
        target.mkdir()
        (target / "a").write_text("first")

    assert (store.make_folder(target, fill) / "a").read_text() == "first" and names(
        store, "facts"
    ) == ["k"]


def test_eviction_spares_what_was_read(store):
    for key in ("asked", "forgotten"):
        store.put_json("responses", key, {})
        os.utime(store.path("responses", key, ".json"), (0, 0))
    assert store.get_json("responses", "asked") == {}
    assert store.evict("responses", 30) == 1
    assert (
        store.get_json("responses", "asked") == {}
        and store.get_json("responses", "forgotten") is None
    )


def test_eviction_removes_what_is_old_and_not_named(store):
    for key in ("old", "kept", "new"):
        store.put_json("responses", key, 1)
    for key in ("old", "kept"):
        os.utime(store.path("responses", key, ".json"), (time.time() - 9 * 86400,) * 2)
    assert store.evict("responses", 7, keep={"kept.json"}) == 1
    assert names(store, "responses") == ["kept.json", "new.json"]


def test_the_cache_folder_is_the_variables_or_the_platforms(tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHSEG_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c"
    assert root_for(tmp_path / "absent", "identity", local=False).is_relative_to(tmp_path / "c")
    assert root_for(tmp_path, "identity") == tmp_path
    monkeypatch.delenv("HEALTHSEG_CACHE")
    assert cache_folder().name in ("healthseg", "Healthseg")
