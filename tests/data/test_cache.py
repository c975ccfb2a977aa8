"""The cache: built once, the same bits for everyone, whole after every fault, shared by threads and processes."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import threading
import time

import numpy as np
import pandas as pd
import pytest

from healthseg.data import cache as caching
from healthseg.data.cache import HEADER_BYTES, Cache, code_digest
from healthseg.data.customer_rows import CustomerRows

DAY = dt.date(2025, 3, 1)
ROWS = pd.DataFrame(
    {
        "k": np.array([0, 0, 300], dtype=np.int32),
        "day": [9, 20_000, 70_000],
        "n": [0.5, 1e300, np.nan],
        "word": pd.Series(["a", None, "b"], dtype="str"),
    }
)
FRAME = pd.DataFrame(
    {
        "name": pd.Series(["a", None], dtype="str"),
        "share": [0.1 + 0.2, float("nan")],
        "at": pd.to_datetime(["2025-03-02 09:00:00.5", None]),
        "count": pd.array([1, None], dtype="Int64"),
        "tier": pd.Categorical(["high", None], categories=["low", "high"]),
    }
)


class Builder:
    """Counts how often a value is built."""

    def __init__(self, value: object) -> None:
        self.value, self.calls = value, 0

    def __call__(self) -> object:
        self.calls += 1
        return self.value


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def again(cache: Cache) -> Cache:
    """The cache as another process opens it."""
    return pickle.loads(pickle.dumps(cache))


def files(cache: Cache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir())


VALUES = {
    "json": {"share": 0.1 + 0.2, "nothing": None, "rows": [[1, "ä"], []]},
    "null": None,
    "frame": FRAME,
    "indexed": FRAME.set_index("name"),
    "empty": FRAME.drop(columns="tier").iloc[:0],
    "frames": {"first": FRAME, "second": FRAME[["share"]].iloc[:0]},
}


def assert_same(left: object, right: object) -> None:
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    elif isinstance(left, dict) and left and isinstance(next(iter(left.values())), pd.DataFrame):
        assert list(left) == list(right)
        for name in left:
            assert_same(left[name], right[name])
    else:
        assert left == right


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_built_once_and_is_the_same_for_every_reader(cache, name):
    build = Builder(VALUES[name])
    first = cache.get(name, {"day": DAY}, build)
    assert_same(first, VALUES[name])
    assert cache.get(name, {"day": DAY}, build) is first
    assert_same(again(cache).get(name, {"day": DAY}, build), first)
    assert build.calls == 1


def test_what_is_returned_first_is_what_is_read_later_even_where_the_file_changes_its_types(cache):
    build = Builder((1, {2: 3.5}))
    first = cache.get("value", [], build)
    assert first == again(cache).get("value", [], build) == [1, {"2": 3.5}] and build.calls == 1


def test_other_names_and_inputs_are_other_values(cache):
    build = iter(range(9)).__next__
    inputs = ([], [1], [DAY], {"a": 1}, {"a": {"x", "y"}}, [None, DAY])
    assert [cache.get("count", value, build) for value in inputs] == list(range(6))
    assert cache.get("other", [], build) == 6
    assert [again(cache).get("count", value, build) for value in inputs] == list(range(6))


def test_values_of_other_code_are_never_read(cache, monkeypatch):
    build = iter(range(9)).__next__
    assert cache.get("count", [], build) == 0
    monkeypatch.setattr(caching, "code_digest", lambda: "another version")
    assert again(cache).get("count", [], build) == 1


def test_the_digest_by_contents_follows_what_the_files_hold(tmp_path, monkeypatch):
    (tmp_path / "sql").mkdir()
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "sql" / "b.sql").write_text("SELECT 1")
    monkeypatch.setattr(caching, "_PACKAGE", tmp_path)

    def digests() -> tuple[str, str]:
        code_digest.cache_clear()
        return code_digest(), code_digest(contents=True)

    first = digests()
    os.utime(tmp_path / "a.py", (0, 0))
    touched = digests()
    assert touched[0] != first[0] and touched[1] == first[1]
    (tmp_path / "notes.txt").write_text("no code")
    assert digests() == touched
    (tmp_path / "sql" / "b.sql").write_text("SELECT 2")
    changed = digests()
    assert changed[1] != touched[1]
    assert code_digest("sql", contents=True) != code_digest(contents=True)
    code_digest.cache_clear()


def test_values_in_memory_alone_are_of_any_type_and_leave_no_file(cache):
    build = Builder(threading.Lock())
    first = cache.get("lock", ("a", DAY), build, disk=False)
    assert cache.get("lock", ("a", DAY), build, disk=False) is first and build.calls == 1
    assert cache.get("lock", ["a", {"b": 1}], build, disk=False) is first and build.calls == 2
    assert not cache.folder.exists()
    cache.forget("other")
    assert cache.get("lock", ("a", DAY), build, disk=False) is first and build.calls == 2
    cache.forget()
    cache.get("lock", ("a", DAY), build, disk=False)
    assert build.calls == 3


def test_what_no_file_can_hold_is_refused_in_words(cache):
    with pytest.raises(TypeError, match=r"lock cannot be stored .*use disk=False"):
        cache.get("lock", [], threading.Lock)
    with pytest.raises(TypeError, match="object is not possible among the inputs"):
        cache.get("value", [object()], dict)
    with pytest.raises(ValueError, match="'a/b' is not a valid name for the cache"):
        cache.get("a/b", [], dict)
    assert not cache.folder.exists()


def test_an_error_while_building_is_passed_on_and_nothing_is_stored(cache):
    with pytest.raises(ZeroDivisionError):
        cache.get("value", [], lambda: 1 / 0)
    assert not cache._locks and not cache.folder.exists()
    assert cache.get("value", [], lambda: 1) == 1


def test_the_values_used_last_stay_in_memory(cache):
    builds = {number: Builder(number) for number in range(4)}
    for number in (0, 1, 0, 2, 0, 3):
        cache.get("few", number, builds[number], disk=False, limit=2)
    assert [builds[number].calls for number in range(4)] == [1, 1, 1, 1]
    assert [inputs for inputs, *_ in cache.memory["few"]] == [0, 3]
    cache.get("few", 1, builds[1], disk=False, limit=2)
    assert builds[1].calls == 2


def damages(content: bytes) -> dict[str, bytes]:
    flipped = bytearray(content)
    flipped[-1] ^= 1
    return {
        "empty": b"",
        "header alone": content[:HEADER_BYTES],
        "cut": content[: len(content) // 2],
        "longer": content + b" ",
        "flipped": bytes(flipped),
        "other header": b"x" + content[1:],
        "another format": b'{"a": 1}',
    }


@pytest.mark.parametrize("name", VALUES)
def test_what_cannot_be_read_is_built_again(cache, name, caplog):
    first = cache.get(name, [], lambda: VALUES[name])
    (path,) = cache.folder.iterdir()
    content = path.read_bytes()
    for damaged in damages(content).values():
        path.write_bytes(damaged)
        build = Builder(VALUES[name])
        with caplog.at_level("INFO", "healthseg"):
            assert_same(again(cache).get(name, [], build), first)
        assert build.calls == 1 and path.read_bytes() == content
    assert caplog.text.count("rebuilding") == len(damages(content))


def test_customer_rows_that_cannot_be_read_are_built_again(cache):
    cache.rows("days", [], lambda: ROWS)
    (path,) = cache.folder.iterdir()
    content = path.read_bytes()
    for damaged in damages(content).values():
        path.write_bytes(damaged)
        rows = again(cache).rows("days", [], lambda: ROWS)
        pd.testing.assert_frame_equal(rows.of([0, 300]).assign(k=ROWS["k"]), ROWS)
        assert path.read_bytes() == content


def test_a_payload_that_its_checksum_fits_but_its_format_does_not_is_built_again(cache):
    cache.get("frame", [], lambda: FRAME)
    (path,) = cache.folder.iterdir()
    path.write_bytes(caching._header(b"no parquet") + b"no parquet")
    assert_same(again(cache).get("frame", [], lambda: FRAME), FRAME)


def test_where_nothing_can_be_written_the_value_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "writing", _no_space)
    cache = Cache(tmp_path)
    assert_same(cache.get("frame", [], lambda: FRAME), FRAME)
    assert cache.get("value", [], lambda: (1, 2)) == [1, 2]
    rows = cache.rows("days", [], lambda: ROWS)
    assert len(rows.of([300])) == 1 and len(pickle.loads(pickle.dumps(rows)).of([0])) == 2
    assert not cache.folder.exists()


def _no_space(path):
    raise OSError(28, "No space left on device")


def test_a_customer_without_rows_has_none_however_many_come_before_it(cache):
    rows = cache.rows("days", [], lambda: ROWS)
    for reader in (rows, again(cache).rows("days", [], None), pickle.loads(pickle.dumps(rows))):
        assert isinstance(reader, CustomerRows) and len(reader.of([299, 70_000])) == 0
        pd.testing.assert_frame_equal(
            reader.of([300, 5, 0]),
            ROWS.iloc[[2, 0, 1]].assign(k=[0, 2, 2]).reset_index(drop=True),
            check_exact=True,
        )


def test_customer_rows_without_any_row_keep_their_columns(cache):
    rows = cache.rows("days", [], lambda: ROWS.iloc[:0]).of([0, 1])
    assert list(rows) == list(ROWS) and len(rows) == 0 and rows.dtypes["day"] == ROWS.dtypes["day"]


def test_what_nobody_read_for_a_month_is_removed(cache):
    for name in ("read", "unread", "fresh"):
        cache.get(name, [], lambda: 1)
    for path in cache.folder.glob("*read-*"):
        os.utime(path, (0, 0))
    assert again(cache).get("read", [], None) == 1
    again(cache).get("another", [], lambda: 2)
    assert [name.split("-")[0] for name in files(cache)] == ["another", "fresh", "read"]


def test_customer_rows_are_removed_after_a_day(cache):
    cache.rows("days", [1], lambda: ROWS)
    (path,) = cache.folder.iterdir()
    os.utime(path, (time.time() - 2 * 86_400,) * 2)
    again(cache).rows("days", [2], lambda: ROWS)
    assert len(files(cache)) == 1 and path.name not in files(cache)


def test_eviction_spares_what_other_processes_are_writing_and_vanished_files_are_no_error(cache):
    cache.folder.mkdir(parents=True)
    (cache.folder / ".panel-1.arrow.77.1").write_bytes(b"half")
    (cache.folder / ".panel-2.arrow.78.1").write_bytes(b"left by a crash")
    os.utime(cache.folder / ".panel-2.arrow.78.1", (0, 0))
    os.symlink(cache.folder / "vanished", cache.folder / "gone.json")
    (cache.folder / "responses.sqlite").write_bytes(b"")
    os.utime(cache.folder / "responses.sqlite", (0, 0))
    cache.get("value", [], lambda: 1)
    assert files(cache)[:1] == [".panel-1.arrow.77.1"] and "responses.sqlite" in files(cache)
    assert not any(name.startswith(".panel-2") for name in files(cache))


def test_several_threads_build_a_value_once_and_values_side_by_side(cache):
    build, results, both = Builder([1]), [], threading.Barrier(2, timeout=20)

    def slow() -> list[int]:
        time.sleep(0.05)
        return build()

    def meet() -> int:
        return both.wait()

    threads = [
        threading.Thread(target=lambda: results.append(cache.get("value", [], slow)))
        for _ in range(8)
    ]
    threads += [
        threading.Thread(target=cache.get, args=(name, [], meet)) for name in ("left", "right")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.calls == 1 and all(result is results[0] for result in results)
    assert not cache._locks


def test_a_value_may_be_built_from_others_of_the_cache(cache):
    def build() -> int:
        return cache.get("inner", [], lambda: 20) + cache.get("value", ["deeper"], lambda: 1)

    assert cache.get("value", [], build) == 21
