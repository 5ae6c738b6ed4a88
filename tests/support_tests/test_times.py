"""The table of the tests' times in tests/README.md."""

from __future__ import annotations

from pathlib import Path

from ..times import folder_times, table


def test_times_are_summed_by_folder_and_the_slowest_comes_first(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.docs.test_pages" name="a" time="1.25"/>'
        '<testcase classname="tests.dict.test_dict.TestA" name="b" time="2"/>'
        '<testcase classname="tests.docs.test_wording" name="c" time="0.25"/></testsuite></testsuites>'
    )
    times = folder_times(report)
    assert times == {"dict": (1, 2.0), "docs": (2, 1.5)}
    assert table(times).splitlines()[2:] == ["| `all` | 3 | 4 |", "| `dict` | 1 | 2 |", "| `docs` | 2 | 2 |"]
