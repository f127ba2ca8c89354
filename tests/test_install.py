"""The lock files: of the public index alone, whole, and of what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = ROOT / "scripts" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_LINE = re.compile(
    r"(?P<pin>[a-z0-9.-]+==[0-9a-z.]+)(?: ; (?P<marker>[^\\]+))?(?P<hashes>(?: \\\n   "
    r" --hash=sha256:"
    r"[0-9a-f]{64})+)\n"
)
SYSTEMS = [
    ("linux", "Linux", "x86_64"),
    ("linux", "Linux", "aarch64"),
    ("darwin", "Darwin", "arm64"),
]


def pins(name: str) -> list[Requirement]:
    """The requirements of a lock file, every line of it accounted for."""
    text = (LOCKS / name).read_text()
    entries = list(_LINE.finditer(text))
    assert "".join(entry[0] for entry in entries) == text, (
        "a line that is neither a pin nor its hash"
    )
    return [
        Requirement(entry["pin"] + (f" ; {entry['marker'].strip()}" if entry["marker"] else ""))
        for entry in entries
    ]


@pytest.mark.parametrize("name", ["pip.txt", "run.txt", "test.txt"])
def test_a_lock_names_versions_and_hashes_and_nothing_of_a_machine(name: str) -> None:
    text = (LOCKS / name).read_text()
    assert pins(name)
    for sign in ("+", "://", "/", "--index", "--find", "file:"):  # a local version, a host, a path
        assert sign not in text, sign


def test_torch_is_named_by_version_alone() -> None:
    text = (LOCKS / "torch.txt").read_text()
    (line,) = [line for line in text.splitlines() if not line.startswith("#")]
    assert re.fullmatch(r"torch==[0-9.]+", line)
    (wanted,) = [Requirement(text) for text in PROJECT["dependencies"] if text.startswith("torch>")]
    assert wanted.specifier.contains(line.partition("==")[2])


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: f"{system[0]}-{system[2]}")
def test_the_locks_cover_what_the_project_asks_for(
    python: str, system: tuple[str, str, str]
) -> None:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": system[0],
        "platform_system": system[1],
        "platform_machine": system[2],
        "extra": "",
    }

    def applies(marker: Marker | None) -> bool:
        return marker is None or marker.evaluate(environment)

    def versions(*names: str) -> dict[str, str]:
        every = [
            (canonicalize_name(pin.name), next(iter(pin.specifier)).version)
            for name in names
            for pin in pins(name)
            if applies(pin.marker)
        ]
        assert len(dict(every)) == len(every), "two versions of one package for one machine"
        return dict(every)

    run, test = versions("run.txt"), versions("run.txt", "test.txt")
    for text, locked in [
        *((text, run) for text in PROJECT["dependencies"]),
        *((text, test) for text in PROJECT["optional-dependencies"]["test"]),
    ]:
        wanted = Requirement(text)
        if wanted.name != "torch":
            assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)]), text
    assert "torch" not in test and "seqeval" not in test
    assert run.get("setuptools"), "it builds the project itself"


def test_what_installs_takes_built_and_locked_wheels_only() -> None:
    script = (ROOT / "scripts" / "install").read_text()
    assert "--only-binary :all: --require-hashes --no-deps" in script
    assert "--no-deps --no-build-isolation --editable ." in script
