"""The real packages gevent and pandas, in processes of their own: gevent patches Python."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

from ..support.modes import Endpoint

needs_gevent = pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed: see the extra test")
needs_pandas = pytest.mark.skipif(find_spec("pandas") is None, reason="pandas is not installed: see the extra test")

GREENLETS = """
    from gevent import monkey; monkey.patch_all()
    import gevent, sys
    from s3dict import Client, Dict

    bucket, url = sys.argv[1:]
    client = Client(bucket, prefix="gevent", endpoint_url=url, driver="auto")
    d = Dict.from_name("d", create_if_missing=True, client=client)
    order, calls = [], []

    def work(n):
        d.put(n, n)
        with d.lock("l"):
            order.append(n)
            gevent.sleep(0.01)
            order.append(n)
        return d.get_or_compute("k", compute), d.get(n)

    def compute():
        calls.append(1)
        gevent.sleep(0.05)
        return 7

    def together(*jobs):
        gevent.joinall(jobs, raise_error=True)
        return [job.value for job in jobs]

    assert client.driver == "boto3", client.driver
    assert together(*(gevent.spawn(work, n) for n in range(4))) == [(7, n) for n in range(4)]
    assert order[::2] == order[1::2] and calls == [1], (order, calls)
    d.update({n: n for n in range(20)})
    assert d.get_many(range(20)) == {n: n for n in range(20)}
    assert sorted(d.keys(), key=str) == sorted([*range(20), "k"], key=str)
    try:
        with gevent.Timeout(0.5), d.lock("l"):
            together(gevent.spawn(d.lock("l").acquire, timeout=60))
        print("no timeout")
    except gevent.Timeout:
        assert d.lock("l").locked() is False
"""

FRAMES = """
    import datetime
    import numpy, pandas
    from s3dict import Client, Dict, InvalidError, memoize

    d = Dict.from_name("d", create_if_missing=True, client=Client("b", driver="memory"))
    frame, series = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}), pandas.Series([1.5, None])
    d.update(frame=frame, series=series)
    assert d["frame"].equals(frame) and d["series"].equals(series)
    for key in (pandas.NA, pandas.NaT, numpy.nan):
        try:
            d[key] = 1
        except InvalidError as error:
            assert "cannot be a key" in str(error)
        else:
            raise AssertionError(key)
    d[pandas.Timestamp("2024-01-01")] = 1
    d[numpy.int64(5)] = 2
    assert (d[datetime.datetime(2024, 1, 1)], d[5]) == (1, 2)
    for key in (pandas.Period("2024-01"), pandas.Interval(0, 1), pandas.Timestamp(1), pandas.Timedelta(1)):
        d[key] = str(key)
        assert d[key] == str(key)

    numbers = Dict.from_name("numbers", create_if_missing=True, client=d.client)
    numbers.update((f"k{n}", n) for n in range(50))
    filled = pandas.Series(numbers.as_mapping())
    assert all(filled[f"k{n}"] == n for n in range(50)) and len(filled) == 50

    @memoize(d)
    def total(frame):
        return int(frame["a"].sum())

    try:
        total(frame)
    except TypeError as error:
        assert "the argument 'frame' cannot be part of a key" in str(error)
    assert memoize(d, key=lambda frame: tuple(frame["a"]))(total.__wrapped__)(frame) == 3
"""


def run(program: str, *arguments: str) -> None:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_gevent
@pytest.mark.slow
def test_greenlets_run_side_by_side(moto: Endpoint) -> None:
    run(GREENLETS, moto.bucket, moto.url)


@needs_pandas
def test_frames_are_values_and_scalars_are_keys() -> None:
    run(FRAMES)
