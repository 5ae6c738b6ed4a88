"""With signing keys nothing is unpickled that none of them signed for this dict and key; json and bytes never do.

Tests plant a pickle that would write a file, by whatever way leads to a reader, and see that the file is not there.
"""

from __future__ import annotations

import asyncio
import hmac
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dict import Client, DeserializationError, Dict, IntegrityError, InvalidError, memoize
from s3dict._admin.transfer import DictSettings, Format, export_items, write_records
from s3dict._format.entry import EntrySigner, pack, unpack
from s3dict._format.keys import KeyCodec
from s3dict._stores.memory import MemoryBucket, memory_bucket

from .fuzz_targets import OTHER_SECRET, SECRET, WRITE_ID

LONG_KEY = "k" * 250
SETTINGS = DictSettings("scores", None, "cloudpickle")


class Planted:
    """Unpickling it writes the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file that a planted pickle writes."""
    return tmp_path / "loaded"


@pytest.fixture
def bucket(configured: Client) -> MemoryBucket:
    return memory_bucket(configured.bucket)


def client(configured: Client, *signing_keys: str, environment: str = "main", **options: Any) -> Client:
    return Client(
        configured.bucket, driver="memory", signing_keys=signing_keys, environment_name=environment, **options
    )


def scores(place: Client, **options: Any) -> Dict[Any, Any]:
    return Dict.from_name("scores", create_if_missing=True, client=place, **options)


def entries_in(bucket: MemoryBucket, d: Dict[Any, Any]) -> list[str]:
    ulid = d.object_id.partition(":")[0].removeprefix("di-")
    return [path for path in bucket.paths() if f"/{ulid}/entries/" in path]


def cached(place: Client) -> Client:
    """The same place, read through a cache."""
    return Client(place.bucket, driver="memory", signing_keys=[SECRET], cache=timedelta(hours=1))


READERS: dict[str, Callable[[Dict[Any, Any], Any], object]] = {
    "get": lambda d, key: d.get(key),
    "d[k]": lambda d, key: d[key],
    "get, asyncio": lambda d, key: asyncio.run(d.get.aio(key)),
    "entry": lambda d, key: d.entry(key),
    "get_many": lambda d, key: d.get_many([key]),
    "pop": lambda d, key: d.pop(key),
    "pop_many": lambda d, key: d.pop_many([key]),
    "modify": lambda d, key: d.modify(key, lambda value: value),
    "setdefault": lambda d, key: d.setdefault(key, 1),
    "get_or_compute": lambda d, key: d.get_or_compute(key, lambda: 1),
    "items": lambda d, key: list(d.items()),
    "values": lambda d, key: list(d.values()),
    "mapping": lambda d, key: d.as_mapping()[key],
    "copy of the mapping": lambda d, key: d.as_mapping().copy(),
    "popitem": lambda d, key: d.as_mapping().popitem(),
    "update of another": lambda d, key: Dict.from_name("copy", create_if_missing=True, client=d.client).update(d),
    "cache": lambda d, key: Dict.from_id(d.hydrate().object_id, cached(d.client)).get(key),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("key", ["k", LONG_KEY], ids=["key in the name", "hashed key"])
@pytest.mark.parametrize("signer", [None, OTHER_SECRET], ids=["unsigned", "signed with another key"])
def test_no_reader_unpickles_what_its_keys_did_not_sign(
    configured: Client, trace: Path, name: str, key: str, signer: str | None
) -> None:
    scores(client(configured, *([signer] if signer else [])))[key] = [Planted(trace), np.arange(3)]
    reader = scores(client(configured, SECRET))
    with pytest.raises(IntegrityError, match="unsigned, signed with none of the signing keys"):
        READERS[name](reader, key)
    assert not trace.exists()
    assert len(entries_in(memory_bucket(configured.bucket), reader)) == 1


def test_planted_pickle_would_write_the_file(configured: Client, trace: Path) -> None:
    scores(configured)["k"] = Planted(trace)
    scores(configured).get("k")
    assert trace.exists()


def test_memoized_call_unpickles_nothing_unsigned(configured: Client, trace: Path) -> None:
    def call(place: Client, *results: object) -> object:
        @memoize(scores(place))
        def double(x: int) -> object:
            return results[0]

        return double(2)

    call(configured, Planted(trace))
    trace.unlink(missing_ok=True)
    with pytest.raises(IntegrityError):
        call(client(configured, SECRET), 4)
    assert not trace.exists()


def test_export_unpickles_nothing_unsigned(configured: Client, trace: Path, tmp_path: Path) -> None:
    scores(configured)["k"] = Planted(trace)
    with (tmp_path / "export").open("wb") as sink, pytest.raises(IntegrityError):
        list(
            write_records(
                export_items(scores(client(configured, SECRET))),
                sink,
                Format.PICKLE,
                DictSettings("scores", None, "cloudpickle"),
            )
        )
    assert not trace.exists()


@pytest.mark.parametrize("place", ["head", "buffer"])
def test_payload_that_is_swapped_behind_its_signed_header_is_rejected(
    configured: Client, bucket: MemoryBucket, trace: Path, place: str
) -> None:
    signed = scores(client(configured, SECRET))
    signed["k"] = np.arange(4096)
    [path] = entries_in(bucket, signed)
    body = bytearray(bucket.objects[path].body)
    if place == "head":
        planted = pickle.dumps(Planted(trace), protocol=5)
        start = body.index(b"\x80\x05")
        body[start : start + len(planted)] = planted
    else:
        body[-8] ^= 1
    bucket.write(path, bytes(body))
    with pytest.raises(IntegrityError):
        signed.get("k")
    assert not trace.exists()


def replayed_from_another_key(signed: Dict[Any, Any], bucket: MemoryBucket, place: Client) -> None:
    signed["other"] = "another's"
    [mine, other] = sorted(entries_in(bucket, signed), key=lambda path: b"other" in bucket.objects[path].body)
    bucket.write(mine, bucket.objects[other].body)


def replayed_from_another_dict(signed: Dict[Any, Any], bucket: MemoryBucket, place: Client) -> None:
    other: Dict[Any, Any] = Dict.from_name("other", create_if_missing=True, client=place)
    replay(other, signed, bucket)


def replayed_from_another_environment(signed: Dict[Any, Any], bucket: MemoryBucket, place: Client) -> None:
    replay(Dict.from_name("scores", environment_name="dev", create_if_missing=True, client=place), signed, bucket)


def replayed_from_an_ephemeral_dict(signed: Dict[Any, Any], bucket: MemoryBucket, place: Client) -> None:
    with Dict.ephemeral(client=place) as other:
        replay(other, signed, bucket)


def replayed_from_before_the_dict_was_made_again(signed: Dict[Any, Any], bucket: MemoryBucket, place: Client) -> None:
    [path] = entries_in(bucket, signed)
    before = bucket.objects[path].body
    Dict.objects.delete("scores", client=place)
    signed._state.expire()
    signed["k"] = "mine, again"
    [path] = entries_in(bucket, signed.hydrate())
    bucket.write(path, before)


def replay(source: Dict[Any, Any], target: Dict[Any, Any], bucket: MemoryBucket) -> None:
    source["k"] = "another's"
    [[there], [here]] = entries_in(bucket, source.hydrate()), entries_in(bucket, target)
    bucket.write(here, bucket.objects[there].body)


@pytest.mark.parametrize(
    "replayed",
    [
        replayed_from_another_key,
        replayed_from_another_dict,
        replayed_from_another_environment,
        replayed_from_an_ephemeral_dict,
        replayed_from_before_the_dict_was_made_again,
    ],
    ids=lambda replayed: replayed.__name__,
)
def test_entry_signed_elsewhere_is_rejected(
    configured: Client, bucket: MemoryBucket, replayed: Callable[[Dict[Any, Any], MemoryBucket, Client], None]
) -> None:
    place = client(configured, SECRET)
    signed = scores(place)
    signed["k"] = "mine"
    replayed(signed, bucket, place)
    for read in (signed.get, signed.pop, lambda _: list(signed.values())):
        with pytest.raises(IntegrityError):
            read("k")


def test_older_value_of_the_same_key_cannot_be_told_from_the_present_one(
    configured: Client, bucket: MemoryBucket
) -> None:
    signed = scores(client(configured, SECRET))
    signed["k"] = "old"
    [path] = entries_in(bucket, signed)
    old = bucket.objects[path].body
    signed["k"] = "new"
    bucket.write(path, old)
    assert signed["k"] == "old"


def test_pickled_key_is_not_loaded_before_its_signature_is_verified(configured: Client, trace: Path) -> None:
    scores(configured)[Planted(trace)] = 1
    assert not trace.exists()
    for place in (client(configured, SECRET), client(configured, OTHER_SECRET, SECRET)):
        reader = scores(place)
        for read in (reader.keys, reader.items):
            with pytest.raises(IntegrityError):
                list(read())
    assert not trace.exists()
    assert list(scores(configured).keys()) == [None]
    assert trace.exists()


def test_pickled_key_that_was_signed_comes_back(configured: Client) -> None:
    signed = scores(client(configured, SECRET))
    signed[range(3)] = 1
    assert list(signed.keys()) == [range(3)]
    assert list(signed.items()) == [(range(3), 1)]


@pytest.mark.parametrize(
    "tuning",
    [{"timeout": timedelta(seconds=5)}, {"concurrency": 3}, {"cache": timedelta(1)}, {"max_value_bytes": 9999}],
    ids=lambda tuning: next(iter(tuning)),
)
def test_handle_inside_a_value_verifies_with_the_keys_of_its_reader(
    configured: Client, trace: Path, tuning: dict[str, Any]
) -> None:
    writer = client(configured, SECRET, **tuning)
    inner = Dict.from_name("inner", create_if_missing=True, client=writer).hydrate()
    scores(writer)["inner"] = inner
    Dict.from_name("inner", client=client(configured))["k"] = Planted(trace)
    found = scores(client(configured, SECRET))["inner"]
    with pytest.raises(IntegrityError):
        found["k"]
    assert not trace.exists()


def test_client_inside_a_value_keeps_its_environment_and_has_the_keys_of_its_reader(configured: Client) -> None:
    signed = scores(client(configured, SECRET))
    signed["client"] = client(configured, environment="dev")
    found = signed["client"]
    assert ("dev", configured.bucket) == (found.environment_name, found.bucket)
    Dict.from_name("scores", create_if_missing=True, client=client(configured, environment="dev"))["k"] = 1
    with pytest.raises(IntegrityError):
        Dict.from_name("scores", client=found)["k"]


def test_keys_are_changed_without_a_moment_in_which_entries_cannot_be_read(configured: Client) -> None:
    old, both, swapped, new = ((SECRET,), (SECRET, OTHER_SECRET), (OTHER_SECRET, SECRET), (OTHER_SECRET,))
    scores(client(configured, *old))["k"] = 1
    assert scores(client(configured, *both))["k"] == 1
    scores(client(configured, *swapped))["k"] = 2
    assert [scores(client(configured, *keys))["k"] for keys in (both, new)] == [2, 2]
    with pytest.raises(IntegrityError):
        scores(client(configured, *old)).get("k")


def test_signatures_and_digests_are_compared_in_constant_time_with_every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    compare_digest = hmac.compare_digest

    def record(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare_digest(one, other)

    monkeypatch.setattr(hmac, "compare_digest", record)
    keys = (SECRET.encode(), OTHER_SECRET.encode())
    assert (
        unpack(pack(WRITE_ID, b"\x61k", "bytes", [b"x"], EntrySigner("di", keys[:1])), EntrySigner("di", keys))
        is not None
    )
    assert compared == [(32, 32)] * 3
    with pytest.raises(IntegrityError):
        unpack(pack(WRITE_ID, b"\x61k", "bytes", [b"x"], EntrySigner("di", keys[:1])), EntrySigner("di", keys[1:] * 2))
    assert compared == [(32, 32)] * 5


@pytest.mark.parametrize("codec", ["json", "bytes"])
@pytest.mark.parametrize("claimed", ["cloudpickle", None])
def test_dict_that_unpickles_nothing_loads_no_planted_pickle(
    configured: Client, bucket: MemoryBucket, trace: Path, codec: str, claimed: str | None
) -> None:
    d = scores(configured, codec=codec)
    d["k"] = b"0" if codec == "bytes" else 0
    [path] = entries_in(bucket, d)
    planted = pickle.dumps(Planted(trace), protocol=5)
    key = KeyCodec(False, str).encode("k").data
    bucket.write(path, pack(WRITE_ID, key, claimed or codec, [planted], EntrySigner(d.object_id)))
    for read in (d.get, lambda _: next(d.values()), d.pop):
        if codec == "bytes" and claimed is None:
            # It is taken for the bytes that it is.
            assert read("k") == planted
        else:
            with pytest.raises((IntegrityError, DeserializationError)):
                read("k")
    assert not trace.exists()


@pytest.mark.parametrize("codec", ["json", "bytes"])
def test_dict_that_unpickles_nothing_loads_no_planted_key(
    configured: Client, bucket: MemoryBucket, trace: Path, codec: str
) -> None:
    d = scores(configured, codec=codec)
    d["k"] = b"0" if codec == "bytes" else 0
    [path] = entries_in(bucket, d)
    key = KeyCodec(True, str).encode(Planted(trace))
    body = pack(WRITE_ID, key.data, codec, [b"0"], EntrySigner(d.object_id))
    bucket.write(path.rpartition("/")[0] + "/" + key.object_name, body)
    for read in (d.keys, d.items):
        with pytest.raises(IntegrityError, match="never unpickles"):
            list(read())
    assert not trace.exists()


class TestOfAManifestThatIsAltered:
    """Manifests are not signed: a process that may write one can have it say another codec."""

    @pytest.fixture
    def altered(self, configured: Client, bucket: MemoryBucket, trace: Path) -> Callable[[Dict[Any, Any]], None]:
        def alter(d: Dict[Any, Any]) -> None:
            path = next(path for path in bucket.paths() if path.endswith("manifests/main/scores.json"))
            bucket.write(path, bucket.objects[path].body.replace(b'"json"', b'"cloudpickle"'))
            scores(client(configured))["k"] = Planted(trace)
            assert d._state.loaded is not None

        return alter

    def test_handle_that_names_its_codec_refuses_it(
        self, configured: Client, altered: Callable[[Dict[Any, Any]], None], trace: Path
    ) -> None:
        d = scores(configured, codec="json")
        d["k"] = 1
        pickled = pickle.dumps(d)
        altered(d)
        for handle in (scores(configured, codec="json"), pickle.loads(pickled)):
            with pytest.raises(InvalidError, match="codec='cloudpickle', not 'json'"):
                handle.get("k")
        assert not trace.exists()

    def test_handle_that_has_looked_it_up_before_refuses_it(
        self, configured: Client, bucket: MemoryBucket, altered: Callable[[Dict[Any, Any]], None], trace: Path
    ) -> None:
        Dict.objects.create("scores", client=configured, codec="json")
        d = scores(configured)
        d["k"] = 1
        altered(d)
        bucket.advance(timedelta(minutes=2))
        with pytest.raises(IntegrityError, match="it was altered"):
            d.get("k")
        assert not trace.exists()

    def test_signing_keys_reject_planted_objects(
        self, configured: Client, altered: Callable[[Dict[Any, Any]], None], trace: Path
    ) -> None:
        signed = scores(client(configured, SECRET), codec="json")
        signed["k"] = 1
        altered(signed)
        with pytest.raises(IntegrityError, match="unsigned"):
            scores(client(configured, SECRET)).get("k")
        assert not trace.exists()
