"""What s3dict stands on: under which licences, and from which releases on, as the guide says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution

import pytest
from packaging.requirements import Requirement

from ..docs.pages import GUIDE, table
from ..noxfile import PUBLIC_EXTRAS

OURS = "s3-shared-dict"
PERMISSIVE = ("Apache", "BSD", "ISC", "MIT", "PSF", "Python Software Foundation")


def requirements(found: Distribution, extra: str, **elsewhere: str) -> Iterator[Requirement]:
    """What it needs with this extra, or always where that is "": here, but for what is said to be as `elsewhere`."""
    for line in found.requires or ():
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra, **elsewhere}):
            yield wanted


def everything() -> dict[str, Distribution]:
    """All that comes with s3dict and its public extras, and with what they need, here."""
    found: dict[tuple[str, str], Distribution] = {}
    wanted = [(OURS, extra) for extra in ("", *PUBLIC_EXTRAS)]
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) not in found:
            found[name, extra] = distribution(name)
            for needed in requirements(found[name, extra], extra):
                wanted += [(needed.name, its_extra) for its_extra in ("", *needed.extras)]
    return {name: distribution for (name, _), distribution in found.items()}


def licence(found: Distribution) -> str:
    """As the package names it: the expression if there is one, otherwise the old field, otherwise its classifiers."""
    names = ("License-Expression", "License")
    named = [str(found.metadata[name]) for name in names if found.metadata[name]]
    classified = [line for line in found.metadata.get_all("Classifier") or [] if line.startswith("License :: ")]
    return next(iter(named), "") or " ".join(line.rpartition(" :: ")[2] for line in classified)


def is_permissive(text: str) -> bool:
    every = [part.strip(" ()") for part in re.split(r"\bAND\b", text)]
    return all(part.startswith(PERMISSIVE) or part == "Dual License" for part in every)


def test_dependencies_have_permissive_licences() -> None:
    found = everything()
    assert {"boto3", "aioboto3", "cbor2", "cloudpickle", "rich", "uvicorn"} <= set(found)
    assert {name: licence(found[name]) for name in found if not is_permissive(licence(found[name]))} == {}


@pytest.mark.parametrize("text", ["GPL-3.0-only", "MIT AND LGPL-2.1-only", "AGPL-3.0", "Proprietary", ""])
def test_other_licences_are_noticed(text: str) -> None:
    assert not is_permissive(text)


def test_guide_names_each_package_with_its_oldest_release() -> None:
    allowed = {
        (wanted.name, str(wanted.specifier).removeprefix(">="))
        for extra in ("", *PUBLIC_EXTRAS)
        for wanted in requirements(distribution(OURS), extra, python_version="3.13")
        if wanted.name != OURS
    }
    assert {(name.strip("`"), oldest) for name, _, oldest, _ in table(GUIDE / "security.md", "Package")} == allowed


def test_guide_names_the_licence_of_each() -> None:
    found = everything()
    for name, _, _, named in table(GUIDE / "security.md", "Package"):
        if name.strip("`") in found:  # obstore is not for every Python
            assert named.split("-")[0] in licence(found[name.strip("`")])
