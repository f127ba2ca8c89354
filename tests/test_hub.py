"""The hub's own client against a hub on the loopback: what arrives, what is refused, and what a
failure leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_shop import ModelHub, git

from adapters_xitt import hub as transport
from adapters_xitt.errors import XittError

PROGRAM = """
import sys
from pathlib import Path
from adapters_xitt import hub
from adapters_xitt.errors import XittError

PATTERNS = ["README.md", "manifest.json", "module.safetensors", "data/*.json"]
def push(folder, repo, revision=None, **more):
    made = hub.push_folder(Path(folder), hub.Reference(repo, revision), message="a module",
                           owned=PATTERNS, tell=print, **more)
    print("pushed", made.commit, made.request)
def pull(text, store, **more):
    selection = hub.Selection(PATTERNS, **{"needed": ["manifest.json"], **more})
    found = hub.pull(hub.reference(text), Path(store) / "hub", selection, tell=print)
    print("pulled", found.folder, *found.left)
try:
    exec(sys.argv[1])
except XittError as error:
    sys.exit(f"told: {error}")
"""
WEIGHTS = bytes(range(256)) * 400  # 100 KB, which goes to the large-file store
SEALS = "digests.json"
FILES = {
    "README.md": b"---\ntags:\n- xitt\n---\n# A module\n",
    "manifest.json": b'{"seed": 1}\n',
    "module.safetensors": WEIGHTS,
    "data/0a.json": b"{}",
}


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    found = ModelHub()
    yield found
    found.close()


@pytest.fixture
def home(hub: ModelHub, tmp_path: Path) -> Path:
    """An empty home with ana's token."""
    hub.log_in(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, body in FILES.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return tmp_path / "mine"


def run(
    hub: ModelHub, home: Path, code: str, *, before: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", before + PROGRAM, code],
        capture_output=True,
        text=True,
        timeout=120,
        env=hub.environment(home) | environment,
    )


def did(hub: ModelHub, home: Path, code: str, **environment: str) -> str:
    ran = run(hub, home, code, **environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


def told(hub: ModelHub, home: Path, code: str, **more: str) -> str:
    """The sentence of a refusal; no traceback, and no word of the token."""
    ran = run(hub, home, code, **more)
    assert ran.returncode == 1 and ran.stderr.strip().splitlines()[-1].startswith("told: "), (
        ran.stderr[-3000:]
    )
    assert "Traceback" not in ran.stderr and "token-of" not in ran.stderr
    return ran.stderr


def push(folder: Path, repo: str = "ana/m", **more: object) -> str:
    return f"push({str(folder)!r}, {repo!r}, **{more!r})"


def pull(store: Path, text: str = "hub:ana/m", **more: object) -> str:
    return f"pull({text!r}, {str(store)!r}, **{more!r})"


def written(root: Path) -> dict[str, bytes]:
    """Every file below a pulled folder but the digests of the others, which must lie beside
    them."""
    files = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    assert set(json.loads(files.pop(SEALS))["files"]) == set(files)
    return files


def ours(hub: ModelHub, repo: str = "ana/m", branch: str = "main") -> dict[str, bytes]:
    """The files of a repository without those that the hub makes."""
    return {
        path: body for path, body in hub.files(repo, branch).items() if path != ".gitattributes"
    }


def commits(hub: ModelHub, repo: str = "ana/m") -> list[str]:
    return (
        [message for message in hub.repos[repo].messages.values() if message != "initial commit"]
        if repo in hub.repos
        else []
    )


@pytest.fixture(scope="module", autouse=True)
def upload(tmp_path_factory) -> Iterator[tuple[ModelHub, subprocess.Popen[str]]]:
    """A push whose upload stays broken: the library asks for 23 seconds, while the other tests
    run."""
    found, place = ModelHub(), tmp_path_factory.mktemp("upload")
    found.log_in(place / "home")
    found.trouble("PUT /large", 500, times=99)
    (place / "mine").mkdir()
    (place / "mine" / "module.safetensors").write_bytes(WEIGHTS)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, push(place / "mine")],
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
        env=found.environment(place / "home"),
    )
    yield found, process
    process.kill()
    process.wait()
    found.close()


# -- there and back


def test_a_folder_is_pushed_in_one_commit_and_pulled_whole(hub, home, folder, tmp_path) -> None:
    assert "pushed" in did(hub, home, push(folder))
    assert ours(hub) == FILES and commits(hub) == ["a module"]
    said = did(hub, tmp_path / "empty", pull(tmp_path / "store"))
    commit = hub.repos["ana/m"].branches["main"]
    assert f"main is commit {commit}; pin it as hub:ana/m@{commit}" in said
    pulled = written(tmp_path / "store" / "hub" / f"ana--m@{commit}")
    assert pulled == FILES
    assert ".gitattributes" in said, "what no pattern allows is told"


def test_what_is_here_is_not_asked_for_again(hub, home, tmp_path) -> None:
    commit = hub.add("ana/m", FILES)
    did(hub, home, pull(tmp_path / "store", f"hub:ana/m@{commit}"))
    hub.asked.clear()
    did(hub, home, pull(tmp_path / "store", f"hub:ana/m@{commit}"))
    assert not hub.asked
    assert "pulled" in did(
        hub, home, pull(tmp_path / "store", f"hub:ana/m@{commit}"), HF_HUB_OFFLINE="1"
    )


def test_a_branch_that_moves_leaves_the_pinned_folder_as_it_is(hub, home, tmp_path) -> None:
    first = hub.add("ana/m", FILES)
    did(hub, home, pull(tmp_path / "store"))
    second = hub.add("ana/m", {"manifest.json": b'{"seed": 2}\n'})
    did(hub, home, pull(tmp_path / "store"))
    seeds = [
        (tmp_path / "store" / "hub" / f"ana--m@{sha}" / "manifest.json").read_bytes()
        for sha in (first, second)
    ]
    assert seeds == [b'{"seed": 1}\n', b'{"seed": 2}\n']


def test_pushing_again_commits_what_changed_and_takes_our_stale_names_away(
    hub, home, folder
) -> None:
    hub.add("ana/m", {"mine.txt": b"the owner's"})
    did(hub, home, push(folder))
    assert "nothing to commit" in did(hub, home, push(folder)) and commits(hub) == [
        "put there",
        "a module",
    ]
    (folder / "data" / "0a.json").unlink()
    (folder / "manifest.json").write_bytes(b'{"seed": 2}\n')
    did(hub, home, push(folder))
    assert set(ours(hub)) == {*FILES, "mine.txt"} - {"data/0a.json"} and len(hub.puts) == 1


def test_private_branch_and_request(hub, home, folder, tmp_path) -> None:
    did(hub, home, push(folder, private=True))
    assert hub.repos["ana/m"].private
    # nothing new on the branch
    assert "hub:ana/m" not in did(hub, home, push(folder, revision="try"))
    (folder / "manifest.json").write_bytes(b"{}")
    did(hub, home, push(folder, revision="try"))
    assert (
        ours(hub)["manifest.json"] == FILES["manifest.json"]
        and ours(hub, branch="try")["manifest.json"] == b"{}"
    )
    hub.add("bea/m", {"README.md": b"bea's"})
    said = did(hub, home, push(folder, "bea/m", create_pr=True))
    assert "/bea/m/discussions/1" in said and ours(hub, "bea/m") == {"README.md": b"bea's"}
    assert ours(hub, "bea/m", "refs/pr/1")["module.safetensors"] == WEIGHTS
    assert "pulled" in did(hub, home, pull(tmp_path / "store", "hub:bea/m@refs/pr/1"))


def test_search_finds_by_words_and_tags(hub, home, folder) -> None:
    did(hub, home, push(folder))
    hub.add("bea/m-other", {"README.md": b"# none"})
    look = "print(*(one.repo for one in hub.search([{!r}], filters={!r})))"
    assert did(hub, home, look.format("m", [])).split() == ["ana/m", "bea/m-other"]
    assert did(hub, home, look.format("m", ["xitt"])).split() == ["ana/m"]
    assert did(hub, home, look.format("zebra", [])).split() == []


def test_the_token_may_be_in_the_environment(hub, folder, tmp_path) -> None:
    assert "pushed" in did(hub, tmp_path / "empty", push(folder), HF_TOKEN="token-of-ana")


# -- what people write


@pytest.mark.parametrize(
    "text",
    [
        "hub:m",
        "hub:/m",
        "hub:a/",
        "hub:a/b/c",
        "hub:a/../b",
        "hub:../b",
        "hub:a/b@",
        "hub:a/b@..",
        "hub:a/b@x y",
        "hub:a/b@/x",
        "hub:-a/b",
        "hub:a/b.git",
        "hub:a/b--c",
        "hub:a/b@refs//pr",
        "hub:https://x/y",
        "hub:a/b\n",
        "hub:ä/b",
        "hub:a/b@\n",
    ],
)
def test_no_repository(text: str) -> None:
    with pytest.raises(XittError, match=r"owner/name|no revision"):
        transport.reference(text)


def test_references() -> None:
    assert transport.reference("hub:a/b") == transport.Reference("a/b")
    assert transport.reference("a/b.c_d@refs/pr/1") == transport.Reference("a/b.c_d", "refs/pr/1")
    assert str(transport.reference(f"hub:a/b@{'0' * 40}")) == f"hub:a/b@{'0' * 40}"


# -- pushing fails

STEPS = (
    "POST /api/repos/create",
    "GET /api/models/ana/m$",
    "GET /api/models/ana/m/tree",
    "POST /api/validate-yaml",
    "POST /api/models/ana/m/preupload",
    "POST /ana/m.git/info/lfs",
    "PUT /large",
    "POST /ana/m/verify",
    "POST /api/models/ana/m/commit",
)


def test_those_are_all_steps_of_a_push(hub, home, folder) -> None:
    import re

    did(hub, home, push(folder))
    assert all(any(re.search(step, one) for step in STEPS) for one in hub.asked)
    assert all(any(re.search(step, one) for one in hub.asked) for step in STEPS)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["cut", "lost", 503])
def test_one_break_anywhere_is_got_over_with_one_commit(
    hub, home, folder, step: str, how: int | str
) -> None:
    hub.trouble(step, how)
    assert "pushed" in did(hub, home, push(folder))
    assert ours(hub) == FILES and commits(hub) == ["a module"]


@pytest.mark.parametrize(
    "step", [step for step in STEPS if "PUT" not in step and "verify" not in step]
)
def test_a_line_that_stays_cut_leaves_no_commit_and_the_next_try_goes_on(
    hub, home, folder, step: str
) -> None:
    hub.trouble(step, "cut", times=99)
    said = told(hub, home, push(folder))
    assert "ana/m: the hub at http://127.0.0.1" in said and "can't be reached or broke off" in said
    assert "the same command goes on where this one stopped" in said
    assert commits(hub) == []
    hub.troubles.clear()
    did(hub, home, push(folder))
    assert ours(hub) == FILES and commits(hub) == ["a module"] and len(hub.puts) == 1


PUSHES = {  # the step, what the hub answers, and what is told
    "a token that the hub does not know": (
        "POST /api/repos/create",
        401,
        "does not accept the token, or asks for one",
    ),
    "no right to commit": ("commit/main", 403, "you have no right to this"),
    "another change": ("commit/main", 409, "another change of the same thing is under way"),
    "changed meanwhile": ("commit/main", 412, "changed by somebody else meanwhile"),
    "too large": ("PUT /large", 413, "too large for the hub"),
    "refused": ("preupload", 400, "the hub refuses (400: No)"),
    "in trouble": ("commit/main", 500, "the hub is in trouble (500: Internal error)"),
    "busy": ("preupload", 503, "the hub is in trouble (503: Busy)"),
    "not JSON": (
        "POST /api/repos/create",
        "html",
        "can't be reached or broke off (JSONDecodeError",
    ),
    "wrong checksum": ("PUT /large", 400, "the hub refuses (400: No)"),
}


@pytest.mark.parametrize("case", PUSHES)
def test_a_refused_push_is_told_and_commits_nothing(hub, home, folder, case: str) -> None:
    step, status, words = PUSHES[case]
    hub.trouble(step, status, times=99)
    assert words in told(hub, home, push(folder))
    assert commits(hub) == []


def test_a_busy_hub_is_waited_for_as_long_as_it_says(hub, home, folder) -> None:
    for step in ("preupload", "PUT /large", "commit/main"):
        hub.trouble(step, 429, headers={"Retry-After": "1"})
    did(hub, home, push(folder))
    assert ours(hub) == FILES and commits(hub) == ["a module"] and len(hub.puts) == 1


def test_a_hub_that_wants_an_hour_is_told_at_once(hub, home, folder) -> None:
    hub.trouble("preupload", 429, headers={"Retry-After": "3600"}, times=99)
    assert "asked too often and wants 3600 seconds' rest (Too many requests)" in told(
        hub, home, push(folder)
    )
    assert sum("preupload" in one for one in hub.asked) == 1 and commits(hub) == []


def test_without_a_token_nothing_is_asked(hub, folder, tmp_path) -> None:
    said = told(hub, tmp_path / "empty", push(folder))
    assert (
        "ana/m: pushing needs a token; log in with `hf auth login`, or set HF_TOKEN" in said
        and not hub.asked
    )


def test_a_wrong_token(hub, folder, tmp_path) -> None:
    assert "does not accept the token" in told(
        hub, tmp_path / "empty", push(folder), HF_TOKEN="wrong"
    )
    assert "ana/m" not in hub.repos


def test_a_name_of_somebody_else(hub, home, folder) -> None:
    assert "bea/m: you have no right to this (You don't have the rights" in told(
        hub, home, push(folder, "bea/m")
    )
    hub.add("bea/m", {"README.md": b"bea's"})
    assert "bea/m: you have no right to this" in told(hub, home, push(folder, "bea/m"))
    assert ours(hub, "bea/m") == {"README.md": b"bea's"} and not hub.puts


def test_a_request_for_what_is_not_there(hub, home, folder) -> None:
    assert "bea/m: the hub has no such repository" in told(
        hub, home, push(folder, "bea/m", create_pr=True)
    )
    assert not hub.repos


def test_a_lost_answer_never_makes_two_requests(hub, home, folder) -> None:
    hub.add("bea/m", {"README.md": b"bea's"})
    hub.trouble("commit/main", "lost")
    assert "broke off" in told(hub, home, push(folder, "bea/m", create_pr=True))
    assert [name for name in hub.repos["bea/m"].branches if "pr" in name] == ["refs/pr/1"]


def test_a_public_repository_gets_nothing_that_should_be_private(hub, home, folder) -> None:
    hub.add("ana/m", {"README.md": b"# public"})
    assert "it exists and is public, so what is pushed would be public" in told(
        hub, home, push(folder, private=True)
    )
    assert ours(hub) == {"README.md": b"# public"} and not hub.puts


def test_a_commit_can_not_be_pushed_to(hub, home, folder) -> None:
    assert (
        "name a branch to push to" in told(hub, home, push(folder, revision="0" * 40))
        and not hub.asked
    )


def test_a_card_that_the_hub_does_not_take(hub, home, folder) -> None:
    (folder / "README.md").write_text("---\nbase_model: ../../etc\n---\n")
    assert "Invalid metadata in README.md" in told(hub, home, push(folder))
    assert commits(hub) == [] and not hub.puts


def test_an_empty_folder(hub, home, tmp_path) -> None:
    (tmp_path / "void").mkdir()
    assert "nothing to push" in told(hub, home, push(tmp_path / "void")) and not hub.asked


# -- pulling fails


def kept(store: Path) -> list[str]:
    """What lies below a store, folders too, but for the empty one of pulled things."""
    return [str(path) for path in store.rglob("*") if path != store / "hub"]


@pytest.mark.parametrize(
    "step",
    [
        "GET /api/models/ana/m$",
        "/tree/",
        "/resolve/[^/]+/README.md",
        "/resolve/[^/]+/module.safetensors",
    ],
)
@pytest.mark.parametrize("how", ["cut", "half", 429, 500])
def test_one_break_of_a_download_is_got_over(
    hub, home, tmp_path, step: str, how: int | str
) -> None:
    commit = hub.add("ana/m", FILES)
    hub.trouble(step, how)
    did(hub, home, pull(tmp_path / "store"))
    assert written(tmp_path / "store" / "hub" / f"ana--m@{commit}") == FILES


def test_a_broken_download_goes_on_where_it_stopped(hub, home, tmp_path) -> None:
    large = bytes(25_000_000)  # the library writes 10 MB at once
    commit = hub.add("ana/m", {**FILES, "module.safetensors": large})
    hub.trouble("module.safetensors", "half")
    did(hub, home, pull(tmp_path / "store", f"hub:ana/m@{commit}"))
    assert (
        tmp_path / "store" / "hub" / f"ana--m@{commit}" / "module.safetensors"
    ).read_bytes() == large
    ranges = [one.partition("bytes=")[2] for one in hub.asked if "module.safetensors" in one]
    assert ranges == ["", "10485760-"]


def test_a_download_that_stays_broken_keeps_nothing(hub, home, tmp_path) -> None:
    hub.add("ana/m", FILES)
    hub.trouble("module.safetensors", "half", times=99)
    assert "broke off (ChunkedEncodingError" in told(hub, home, pull(tmp_path / "store"))
    assert kept(tmp_path / "store") == []
    hub.troubles.clear()
    assert "pulled" in did(hub, home, pull(tmp_path / "store"))


PULLS = {  # the step, what the hub answers, and what is told
    "unauthorised": ("/tree/", 401, "does not accept the token, or asks for one"),
    "forbidden": ("/resolve/", 403, "you have no right to this (Forbidden)"),
    "a listed file is gone": ("/resolve/", 404, "refuses (404"),
    "too many": ("/tree/", 429, "asked too often"),
    "in trouble": ("/tree/", 500, "the hub is in trouble (500"),
    "cut": ("/tree/", "cut", "can't be reached or broke off"),
    "not JSON": ("/tree/", "html", "broke off (JSONDecodeError"),
}


@pytest.mark.parametrize("case", PULLS)
def test_a_refused_pull_is_told_and_keeps_nothing(hub, home, tmp_path, case: str) -> None:
    step, how, words = PULLS[case]
    hub.add("ana/m", FILES)
    hub.trouble(step, how, times=99)
    assert words in told(hub, home, pull(tmp_path / "store"))
    assert kept(tmp_path / "store") == []


LIES = {  # what is sent instead of the weights, and what is told
    "wrong checksum": (bytes(len(WEIGHTS)), "have not the digest that the hub lists"),
    "truncated": (WEIGHTS[:-1], "Consistency check failed"),
    "oversize": (WEIGHTS + b"x", f"more than the {len(WEIGHTS):,} bytes that the hub announced"),
}


@pytest.mark.parametrize("case", LIES)
def test_what_is_not_as_listed_is_not_kept(hub, home, tmp_path, case: str) -> None:
    hub.add("ana/m", FILES)
    hub.swap["module.safetensors"], words = LIES[case]
    assert words in told(hub, home, pull(tmp_path / "store"))
    assert kept(tmp_path / "store") == []


def test_a_small_file_has_its_digest_checked_too(hub, home, tmp_path) -> None:
    hub.add("ana/m", FILES)
    hub.swap["manifest.json"] = b'{"seed": 9}\n'
    assert "manifest.json: its 12 bytes have not the digest" in told(
        hub, home, pull(tmp_path / "store")
    )
    assert kept(tmp_path / "store") == []
    # as git hash-object says
    assert git(b"Hello, World!") == "b45ef6fec89518d314f546fd6c3025367b721684"


def test_caps_hold_before_anything_is_downloaded(hub, home, tmp_path) -> None:
    hub.add("ana/m", {**FILES, **{f"data/{n}.json": b"{}" for n in range(70)}})
    assert "refused: 74 files, over 64; nothing was downloaded" in told(
        hub, home, pull(tmp_path / "store")
    )
    assert "refused: 102,5" in (
        said := told(hub, home, pull(tmp_path / "s", most_files=99, most_bytes=100_000))
    )
    assert "over 100,000 (the largest is module.safetensors, 102,400)" in said
    hub.lies["module.safetensors"] = {"size": 10**11}
    assert "over 2,000,000,000" in told(hub, home, pull(tmp_path / "s", most_files=99))
    assert not hub.downloads() and kept(tmp_path / "store") == []


def test_a_disk_without_room_is_seen_before(hub, home, tmp_path) -> None:
    hub.add("ana/m", FILES)
    hub.lies["module.safetensors"] = {"size": 10**17}
    said = told(hub, home, pull(tmp_path / "store", most_bytes=10**18))
    assert "100,000,000,000,0" in said and "but the disk of" in said and not hub.downloads()


def test_a_disk_that_fills_keeps_nothing(hub, home, tmp_path) -> None:
    hub.add("ana/m", FILES)
    limit = (
        "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    )
    said = told(hub, home, pull(tmp_path / "store"), before=limit)
    assert "File too large" in said and "another place" in said and kept(tmp_path / "store") == []


def test_foreign_files_stay_on_the_hub(hub, home, tmp_path) -> None:
    foreign = {
        "pytorch_model.bin": b"\x80\x04pickle",
        "modeling.py": b"raise SystemExit(7)",
        "data/x/y.json": b"{}",
        "data/z.py": b"",
        "module.safetensors.index.json": b"{}",
    }
    commit = hub.add("ana/m", {**FILES, **foreign})
    said = did(hub, home, pull(tmp_path / "store"))
    assert written(tmp_path / "store" / "hub" / f"ana--m@{commit}") == FILES
    assert sorted(hub.downloads()) == sorted(FILES) and all(name in said for name in foreign)


@pytest.mark.parametrize(
    "name",
    [
        "../module.safetensors",
        "/etc/passwd",
        "data/../../x.json",
        "data\\x.json",
        "./a.json",
        "data//x.json",
        "C:x.json",
        "data/\x1b[2Jx.json",
        "data/" + "x" * 600 + ".json",
        "",
    ],
)
def test_a_path_that_would_leave_its_folder(hub, home, tmp_path, name: str) -> None:
    hub.add("ana/m", FILES)
    hub.extra.append(name)
    said = told(hub, home, pull(tmp_path / "store"))
    assert (
        "refused, because it lists" in said
        and "would leave its folder" in said
        and "\x1b" not in said
    )
    assert not hub.downloads() and kept(tmp_path / "store") == []


def test_two_names_that_are_one_on_some_disks(hub, home, tmp_path) -> None:
    hub.add("ana/m", {**FILES, "Manifest.json": b"{}"})
    assert (
        "which are one file on some disks" in told(hub, home, pull(tmp_path / "store"))
        and not hub.downloads()
    )


@pytest.mark.parametrize("size", [-1, "12", None])
def test_a_size_that_is_none(hub, home, tmp_path, size: object) -> None:
    hub.add("ana/m", FILES)
    hub.lies["manifest.json"] = {"size": size}
    assert "with a size of" in told(hub, home, pull(tmp_path / "store")) and not hub.downloads()


def test_a_listing_without_end(hub, home, tmp_path) -> None:
    hub.add("ana/m", FILES)
    hub.extra += [f"x/{n}" for n in range(10_100)]
    assert (
        "lists more than 10,000 files" in told(hub, home, pull(tmp_path / "store"))
        and not hub.downloads()
    )


def test_a_repository_that_is_no_module(hub, home, tmp_path) -> None:
    hub.add("ana/m", {"pytorch_model.bin": b"x", "README.md": b"#"})
    said = told(hub, home, pull(tmp_path / "store"))
    assert (
        "not a module of ours: manifest.json missing; it has README.md, pytorch_model.bin" in said
    )
    assert not hub.downloads()


def test_what_is_not_there(hub, home, tmp_path) -> None:
    assert "ana/m: the hub has no such repository" in told(hub, home, pull(tmp_path / "store"))
    hub.add("ana/m", FILES)
    assert "ana/m: the hub has no revision nowhere" in told(
        hub, home, pull(tmp_path / "s", "hub:ana/m@nowhere")
    )
    assert f"has no revision {'0' * 40}" in told(
        hub, home, pull(tmp_path / "s", f"hub:ana/m@{'0' * 40}")
    )
    assert not (tmp_path / "s" / "hub").exists()


def test_what_may_not_be_seen(hub, home, tmp_path) -> None:
    hub.add("bea/m", FILES, private=True)
    assert "bea/m: the hub has no such repository, or it is not public" in told(
        hub, home, pull(tmp_path / "store", "hub:bea/m")
    )
    hub.add("bea/g", FILES)
    hub.repos["bea/g"].gated = True
    assert "its owner asks for an agreement" in told(
        hub, home, pull(tmp_path / "store", "hub:bea/g")
    )


def test_offline_a_proxy_and_no_network(hub, home, tmp_path) -> None:
    commit = hub.add("ana/m", FILES)
    offline = told(hub, home, pull(tmp_path / "store", f"hub:ana/m@{commit}"), HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set, so the hub is not asked" in offline and not hub.asked
    proxied = told(
        hub, home, pull(tmp_path / "store"), HTTP_PROXY="http://127.0.0.1:9", NO_PROXY=""
    )
    assert "the proxy can't be reached" in proxied and not hub.asked
    hub.server.shutdown()
    hub.server.server_close()
    assert "can't be reached or broke off (ConnectionError" in told(
        hub, home, pull(tmp_path / "store")
    )
    assert not (tmp_path / "store" / "hub").exists()


def test_a_proxy_is_used(hub, home, tmp_path) -> None:
    """The loopback hub as the proxy of a hub that is nowhere."""
    commit = hub.add("ana/m", FILES)
    did(
        hub,
        home,
        pull(tmp_path / "store"),
        HF_ENDPOINT="http://hub.invalid",
        HTTP_PROXY=hub.endpoint,
        NO_PROXY="",
    )
    assert written(tmp_path / "store" / "hub" / f"ana--m@{commit}") == FILES


def test_an_upload_that_stays_broken_is_told(upload) -> None:
    hub, process = upload
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1 and "told: ana/m: the hub is in trouble (500: " in said
    assert "Traceback" not in said
    assert commits(hub) == [] and sum(one.startswith("PUT") for one in hub.asked) == 6, (
        "the library's own tries only"
    )
