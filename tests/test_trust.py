"""Modules as things one can trust: hostile and broken files are refused by name, in bounded memory
and time, and nothing in a file runs or leads anywhere."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pico
import pytest
import torch
from forged import reseal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from test_store import KEY, OTHER, module

from adapters_xitt import safe_files
from adapters_xitt.errors import XittError
from adapters_xitt.hashing import digest, tensors_digest
from adapters_xitt.model import pretrained, session
from adapters_xitt.modules import manifest, serialization
from adapters_xitt.modules.formats import pickles
from adapters_xitt.modules.methods import choose
from adapters_xitt.study.store import Store

MIB = 2**20
QUIET = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300
)


@contextmanager
def bounded(most: int = 64 * MIB, seconds: float = 20.0) -> Iterator[None]:
    """Python's own memory and the time of a block stay below these."""
    tracemalloc.start()
    begun = time.monotonic()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most and time.monotonic() - begun < seconds
    finally:
        tracemalloc.stop()


def refused(call: Callable[[], Any], *words: str) -> str:
    """The message with which a call is refused; it has these words."""
    with bounded(), pytest.raises(XittError) as caught:
        call()
    told = str(caught.value)
    assert all(word in told for word in words), told
    return told


class Payload:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (str(self.path), "w")


# -- safetensors -----------------------------------------------------------------------------------


def row(
    start: int = 0, stop: int = 8, shape: Any = (2,), dtype: Any = "F32", **more: Any
) -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": list(shape) if isinstance(shape, tuple) else shape,
        "data_offsets": [start, stop],
        **more,
    }


def raw(header: Any, data: bytes = b"\0" * 8, *, length: int | None = None) -> bytes:
    """The bytes of a file with this header, which may be text already, and this claim about its
    length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


GOOD = raw({"a": row()})
BAD: dict[str, tuple[Callable[[Path], bytes | None], str]] = {
    "empty": (lambda path: b"", "an empty file"),
    "seven bytes": (lambda path: b"\x02\0\0\0\0\0\0", "no safetensors file"),
    "cut short in its header": (lambda path: GOOD[:30], "its header claims"),
    "cut short in its data": (lambda path: GOOD[:-1], "cut short"),
    "bytes behind the last tensor": (lambda path: GOOD + b"x", "belong to none"),
    "a header of 100 GB": (
        lambda path: raw({"a": row()}, length=100 * 2**30),
        "claims 107,374,182,400 bytes",
    ),
    "a header of 2^63": (lambda path: raw({"a": row()}, length=2**63), "claims"),
    "tensors of 100 GB": (
        lambda path: raw({"a": row(0, 10**11, (25 * 10**9,))}),
        "claims 100,000,000,",
    ),
    "100,000 tensors": (
        lambda path: raw({f"t{n}": row(8 * n, 8 * n + 8) for n in range(100_000)}, b"\0" * 800_000),
        "bytes, more than 4,194,304",
    ),
    "20,000 tensors": (
        lambda path: raw({f"t{n}": row(8 * n, 8 * n + 8) for n in range(20_000)}, b"\0" * 160_000),
        "more than 10,000 tensors",
    ),
    "100,000 short tensors": (
        lambda path: raw(b"{" + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}"),
        "100,000 tensors",
    ),
    "a sparse file of 100 GB": (
        lambda path: _sparse(path, 100 * 2**30),
        "107,374,182,400 bytes, more than",
    ),
    "a long header": (
        lambda path: raw(b"{" + b" " * (safe_files.MOST_HEADER + 1) + b"}"),
        "a header of 4,194,307 bytes",
    ),
    "a pickle": (
        lambda path: pickle.dumps(Payload(path.with_name("ran"))),
        "a pickle under the name",
    ),
    "an old pickle": (lambda path: pickle.dumps({"a": 1}, protocol=0), "no safetensors file"),
    "torch.save": (lambda path: _torch_save(path), "a zip, as torch.save writes its pickles"),
    "a zip": (lambda path: _zip(path), "a zip"),
    "a pointer of Git LFS": (
        lambda path: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "git lfs pull",
    ),
    "a page of a portal": (
        lambda path: b"<!doctype html><html>" + b" " * 99,
        "no safetensors file",
    ),
    "a list for a header": (lambda path: raw([1]), "no JSON object"),
    "broken JSON": (lambda path: raw(b'{"a": '), "expected JSON"),
    "not UTF-8": (lambda path: raw(b'{"\xff": 0}'), "not UTF-8"),
    "deep JSON": (lambda path: raw(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"), "expected JSON"),
    "a tensor twice": (
        lambda path: raw(b'{"a":%b,"a":%b}' % ((json.dumps(row()).encode(),) * 2)),
        "'a' twice",
    ),
    "overlapping": (lambda path: raw({"a": row(), "b": row(4, 12)}, b"\0" * 12), "overlaps"),
    "the same bytes twice": (lambda path: raw({"a": row(), "b": row()}), "overlaps"),
    "a gap": (lambda path: raw({"a": row(), "b": row(12, 20)}, b"\0" * 20), "leaves a gap"),
    "a late beginning": (lambda path: raw({"a": row(8, 16)}, b"\0" * 16), "leaves a gap"),
    "an unknown dtype": (lambda path: raw({"a": row(dtype="F7")}), "dtype 'F7'"),
    "a dtype that is a list": (lambda path: raw({"a": row(dtype=["F32"])}), "dtype"),
    "another size than its shape": (
        lambda path: raw({"a": row(shape=(3,))}),
        "takes 12 bytes, its offsets say 8",
    ),
    "a negative size": (lambda path: raw({"a": row(shape=(-2,))}), "whole numbers"),
    "a shape that overflows": (lambda path: raw({"a": row(shape=(2**40, 2**40))}), "takes"),
    "a size as text": (lambda path: raw({"a": row(shape=("2",))}), "whole numbers"),
    "true as a size": (lambda path: raw({"a": row(shape=(True, 2))}), "whole numbers"),
    "a size of 4,000 digits": (
        lambda path: raw(
            b'{"a":{"dtype":"F32","shape":[%b],"data_offsets":[0,8]}}' % (b"9" * 4000)
        ),
        "whole numbers",
    ),
    "nine dimensions": (lambda path: raw({"a": row(shape=(1,) * 8 + (2,))}), "at most 8"),
    "offsets backwards": (lambda path: raw({"a": row(8, 0)}), "data_offsets"),
    "three offsets": (
        lambda path: raw({"a": {**row(), "data_offsets": [0, 4, 8]}}),
        "data_offsets",
    ),
    "more keys": (lambda path: raw({"a": row(code="import os")}), "nothing else"),
    "a row that is a list": (lambda path: raw({"a": [1]}), "dtype, shape and data_offsets"),
    "a name with an escape": (lambda path: raw({"\x1b[2Ja": row()}), "printable"),
    "no name": (lambda path: raw({"": row()}), "printable"),
    "metadata that is a list": (
        lambda path: raw({"a": row(), "__metadata__": [1]}),
        "__metadata__",
    ),
    "metadata of numbers": (
        lambda path: raw({"a": row(), "__metadata__": {"x": 1}}),
        "__metadata__",
    ),
}


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.write(GOOD)
        file.truncate(size)


def _torch_save(path: Path) -> None:
    torch.save({"a": torch.ones(2)}, path)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../a", b"x" * 100)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_of_tensors_is_refused_before_it_is_read(tmp_path, name):
    make, words = BAD[name]
    path = tmp_path / "module.safetensors"
    content = make(path)
    if content is not None:
        path.write_bytes(content)
    for read in (safe_files.read_header, safe_files.read_tensors, safe_files.stored_digest):
        refused(lambda read=read: read(path), str(path), words)
    assert not (tmp_path / "ran").exists()


def sample() -> dict[str, torch.Tensor]:
    kinds = [getattr(torch, name) for name, _ in safe_files.DTYPES.values()]
    found = {f"encoder.{kind}": torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    return found | {
        "empty": torch.zeros(0, 3),
        "one": torch.tensor(1.5),
        "mit Umlaut ä": torch.ones(1, 1, 2),
    }


def test_what_safetensors_writes_is_read_the_same(tmp_path):
    """Header, tensors and digest, against the library's own reader and the digest of tensors in
    memory."""
    path, tensors = tmp_path / "a.safetensors", sample()
    save_file(tensors, path, metadata={"digest": "x"})
    header, back = safe_files.read_header(path), safe_files.read_tensors(path)
    assert safe_files.read_metadata(path) == {"digest": "x"}
    assert safe_files.stored_digest(path) == tensors_digest(tensors) == tensors_digest(back)
    with safe_open(path, "pt") as library:
        assert set(library.keys()) == set(header)
        for name in header:
            assert list(header[name].shape) == library.get_slice(name).get_shape()
            assert header[name].dtype == library.get_slice(name).get_dtype()
            whole = library.get_tensor(name)
            assert (header[name].count, header[name].size) == (
                whole.numel(),
                whole.numel() * whole.element_size(),
            )


@QUIET
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 3),
)
def test_whatever_we_take_the_library_takes(tmp_path, changes, cut):
    """Random damage: refused as a user's mistake, or read to the same tensors as by the library."""
    data = bytearray(save({"a": torch.ones(3), "b": torch.arange(4.0)}, metadata={"k": "v"}))
    for at, value in changes:
        data[at % len(data)] = value
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        header = safe_files.read_header(path)
    except XittError as error:
        assert str(path) in str(error)
        return
    theirs = load(path.read_bytes())
    assert {name: tuple(value.shape) for name, value in theirs.items()} == {
        name: info.shape for name, info in header.items()
    }
    assert safe_files.stored_digest(path) == tensors_digest(theirs)


def test_the_library_would_take_what_we_refuse(tmp_path):
    """The checks here are not its own said twice: it takes a name with an escape sequence."""
    assert set(load(raw({"\x1b[2Ja": row()}))) == {"\x1b[2Ja"}
    with pytest.raises(SafetensorError):
        load(raw({"a": row(), "b": row()}))


# -- folders and JSON ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path) -> Path:
    """A good folder of ours, and a secret beside it."""
    serialization.write_module(module(), tmp_path / "mod")
    (tmp_path / "secret.json").write_text('{"secret": 1}')
    return tmp_path / "mod"


def swap(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink()
    make(path)


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a link that leads out": (
        lambda f: swap(f / "manifest.json", lambda p: p.symlink_to(f.parent / "secret.json")),
        "a link that leads out of its folder",
    ),
    "a relative link": (
        lambda f: swap(f / "manifest.json", lambda p: p.symlink_to("../secret.json")),
        "a link",
    ),
    "a link to nothing outside": (
        lambda f: swap(f / "module.safetensors", lambda p: p.symlink_to("/nowhere/x")),
        "a link",
    ),
    "a link to itself": (
        lambda f: swap(f / "module.safetensors", lambda p: p.symlink_to(p.name)),
        "",
    ),
    "a folder in place of a file": (
        lambda f: swap(f / "module.safetensors", lambda p: p.mkdir()),
        "a folder in place",
    ),
    "a link to a folder": (
        lambda f: swap(f / "module.safetensors", lambda p: p.symlink_to(f.parent)),
        "a link",
    ),
    "a pipe": (lambda f: swap(f / "manifest.json", os.mkfifo), "not a plain file"),
    "a device": (
        lambda f: swap(f / "manifest.json", lambda p: p.symlink_to("/dev/zero")),
        "a link",
    ),
    "a manifest of 100 GB": (
        lambda f: _sparse(f / "manifest.json", 100 * 2**30),
        "more than the 4,194,304",
    ),
    "thousands of files": (
        lambda f: [(f / f"{n}.txt").touch() for n in range(1001)],
        "more than 1,000 files",
    ),
    "an unconverted pickle": (
        lambda f: (f / "pytorch_adapter.bin").write_bytes(b"\x80\x04"),
        "xitt convert --trust-pickle",
    ),
    "no manifest": (
        lambda f: (f / "manifest.json").unlink(),
        "not a module, manifest.json is missing",
    ),
    "no tensors": (
        lambda f: (f / "module.safetensors").unlink(),
        "the manifest alone is no module",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_leads_elsewhere_is_refused(folder, name):
    change, words = FOLDERS[name]
    change(folder)
    told = refused(lambda: serialization.read_module(folder), str(folder), words)
    assert "secret.json" not in told
    if name != "thousands of files":  # nothing is listed there
        assert serialization.inspect_folder(folder).problems


def test_links_within_a_folder_and_a_folder_that_is_a_link_are_read(folder):
    own = serialization.read_manifest(folder)
    (folder / "real").mkdir()
    (folder / "manifest.json").rename(folder / "real" / "m")
    (folder / "manifest.json").symlink_to("real/m")
    (folder.parent / "alias").symlink_to(folder)
    assert serialization.read_module(folder.parent / "alias").manifest == own


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../secret.json", "/etc/passwd", "a/b", "a\\b", "C:x", "a\0b", "a\nb"]
)
def test_names_out_of_a_file_are_no_paths(folder, name):
    refused(lambda: safe_files.inside(folder, name), "no name of a file in this folder")
    assert safe_files.inside(folder, "manifest.json") == folder / "manifest.json"


JSON: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ":1: expected JSON"),
    "cut short": (b'{"a":\n1', ":2: expected JSON"),
    "a list": (b"[]", "expected an object, found list"),
    "a number": (b"7", "found int"),
    "a key twice": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
    "NaN": (b'{"a": NaN}', "nan"),
    "infinite": (b'{"a": -Infinity}', "Infinity"),
    "1e999": (b'{"a": 1e999}', "1e999"),
    "deep": (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "expected JSON"),
    "deep lists": (b"[" * 10**6, "expected JSON"),
    "a number of 100,000 digits": (b'{"a": %b}' % (b"9" * 10**5), "expected JSON"),
    "not UTF-8": (b'{"a":\n"\xff"}', ":2: not UTF-8"),
    "half a character": (b'{"a": "\\ud800"}', "half of one"),
    "too long": (b" " * (4 * MIB + 1), "not read"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_that_is_none_is_refused_with_its_line(tmp_path, name):
    content, words = JSON[name]
    path = tmp_path / "a.json"
    path.write_bytes(content)
    told = refused(lambda: safe_files.read_json(path), str(path))
    assert words.casefold() in told.casefold(), told


# -- manifests -------------------------------------------------------------------------------------


def write(folder: Path, **changes: Any) -> None:
    values = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(
        json.dumps({k: v for k, v in values.items() if v != "gone"})
    )
    reseal(folder)


HEAD = {"pair2_24cee6": {"kind": "pair", "labels": ["a", "ß"]}}
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another format": ({"format": 3}, "format 3; this version reads format 2"),
    "format as text": ({"format": "2"}, "format 2"),
    "format true": ({"format": True}, "format True"),
    "a key too many": ({"author": "me"}, "unknown key 'author'"),
    "a near miss": ({"sed": 1}, "mean 'seed'"),
    "a key missing": ({"seed": "gone"}, "key 'seed' is missing"),
    "thousands of keys": ({f"k{n}": 1 for n in range(20_000)}, "keys; a manifest has"),
    "a key that is a path": ({"key": "../../" + "a" * 58}, "key: must be 64 hex digits"),
    "a digest in capitals": ({"digest": "AB" * 32}, "digest: must be 64 hex digits"),
    "an encoder cut short": ({"encoder": "ab"}, "encoder: must be 64 hex digits"),
    "a seed below zero": ({"seed": -1}, "seed: must be a whole number"),
    "a true seed": ({"seed": True}, "seed: must"),
    "an unknown method": (
        {"method": {"name": "seq_bm"}},
        "unknown method 'seq_bm'. Did you mean 'seq_bn'?",
    ),
    "no method": ({"method": {}}, "its name is needed"),
    "a list for a method": ({"method": []}, "method: must be"),
    "a method that is no word": ({"method": {"name": ["lora"]}}, "its name is needed"),
    "an option missing": (
        {"method": {"name": "lora", "rank": 8}},
        "options missing: alpha, places",
    ),
    "a rank of a billion": (
        {"method": choose("lora", {}).record() | {"rank": 10**9}},
        "rank: must be a positive",
    ),
    "places nobody has": (
        {"method": choose("lora", {}).record() | {"places": [["query"]]}},
        "places: must be",
    ),
    "a mixture of nothing": ({"mixture": {}}, "mixture: an object with"),
    "an unknown task": (
        {
            "mixture": {
                **module().manifest.mixture,
                "portions": [
                    {"task": "xnly", "languages": ["en"], "variant": "", "examples": None}
                ],
            }
        },
        "unknown task 'xnly'",
    ),
    "a task with a language": (
        {
            "mixture": {
                **module().manifest.mixture,
                "portions": [
                    {"task": "xnli@de", "languages": ["en"], "variant": "", "examples": None}
                ],
            }
        },
        "no task's name",
    ),
    "labels in another order": (
        {"heads": {"pair2_24cee6": {"kind": "pair", "labels": ["ß", "a"]}}},
        "the labels or their order were changed",
    ),
    "another kind": (
        {"heads": {"pair2_24cee6": {"kind": "choice", "labels": ["a", "ß"]}}},
        "is not the label space",
    ),
    "a kind nobody knows": (
        {"heads": {"x": {"kind": "pear", "labels": []}}},
        "Did you mean 'pair'?",
    ),
    "labels that are numbers": (
        {"heads": {"x": {"kind": "pair", "labels": [1, 2]}}},
        "labels must be a list",
    ),
    "a label twice": (
        {"heads": {"x": {"kind": "pair", "labels": ["a", "a"]}}},
        "labels must be a list of different",
    ),
    "a head that is a path": ({"heads": {"../x": HEAD["pair2_24cee6"]}}, "is not the label space"),
    "no such head": ({"heads": {}}, "1 tensors too many"),
    "a head without tensors": (
        {"heads": {**HEAD, "qa": {"kind": "qa", "labels": []}}},
        "head qa: the manifest has it",
    ),
    "languages as text": ({"languages": "en"}, "languages: must be a list of texts"),
    "a context without itself": ({"context": OTHER}, "the module's own among them"),
    "a context with a path": ({"context": f"../../x > {KEY}"}, "64 hex digits each"),
    "a context with a word": ({"context": f"x > {KEY}"}, "64 hex digits each"),
    "a context of two keys in one": ({"context": KEY + KEY}, "the module's own among them"),
    "a context of brackets": (
        {"context": "(" * 3000 + KEY + ")" * 3000},
        "parentheses within each other",
    ),
    "a context of a megabyte": ({"context": KEY + " > " * MIB}, "context: must be a text"),
    "exposure to a path": (
        {"exposure": [{"task": "xnli", "language": "en", "role": "trained", "data": "../../x"}]},
        "exposure: data must be 64 hex digits",
    ),
    "exposure in another role": (
        {"exposure": [{"task": "x", "language": "en", "role": "peeked", "data": ""}]},
        "the role one of",
    ),
    "exposure that is less": ({"exposure": [{"task": "xnli"}]}, "exposure: each entry must have"),
    "no score": ({"metrics": {}}, "metrics: score is missing"),
    "a score as text": (
        {"metrics": {"score": "1", "headline": "f1"}},
        "metrics: score must be a number",
    ),
    "a terminal's escape": ({"role": "\x1b]0;owned\x07"}, "role: must be a text"),
    "a deep setting": (
        {"training": json.loads('{"a":' * 50 + "1" + "}" * 50)},
        "training: nested deeper",
    ),
    "no rate": ({"training": {}}, "learning_rate is missing"),
    "versions of numbers": ({"versions": {"torch": 2}}, "versions: must be"),
    "chance without a score": (
        {"chance": 40.0, "metrics": {"score": None, "headline": ""}},
        "chance has a value",
    ),
    "another source": ({"source": "https://example.org"}, "source: must be one of"),
    "other tensors": ({"digest": "0" * 64}, "the file was changed or damaged"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_manifest_that_lies_is_refused_by_name(folder, name):
    changes, words = LIES[name]
    write(folder, **changes)
    told = refused(lambda: serialization.read_module(folder), str(folder), words)
    assert len(told) < 2000 and told.replace("\n", "").isprintable()
    assert any(words in problem for problem in serialization.inspect_folder(folder).problems)


def test_all_that_is_wrong_is_told_at_once(folder):
    write(folder, seed=-1, key="x", role=None, author="me")
    told = refused(lambda: serialization.read_manifest(folder), "4 problems")
    assert [word for word in ("seed:", "key:", "role:", "'author'") if word in told] == [
        "seed:",
        "key:",
        "role:",
        "'author'",
    ]


def test_a_head_of_another_number_of_labels_is_refused(tmp_path):
    """All of it rewritten, digest included: the labels are three, the tensor has two rows."""
    from adapters_xitt.data import mixture

    made, space = module(), mixture.space_of("pair", ["a", "b", "c"])
    tensors = {name.replace("pair2_24cee6", space): value for name, value in made.tensors.items()}
    lying = replace(
        made.manifest,
        heads={space: {"kind": "pair", "labels": ["a", "b", "c"]}},
        digest=tensors_digest(tensors),
    )
    serialization.write_module(serialization.Module(lying, tensors), tmp_path / "m")
    refused(lambda: serialization.read_module(tmp_path / "m"), "out.bias has shape (2,), 3 labels")


def test_weights_are_floating_point(tmp_path):
    made = module()
    tensors = made.tensors | {"encoder.a": torch.arange(3)}
    lying = replace(made.manifest, digest=tensors_digest(tensors))
    serialization.write_module(serialization.Module(lying, tensors), tmp_path / "m")
    refused(
        lambda: serialization.read_module(tmp_path / "m"),
        "1 tensors that are no floating-point numbers: encoder.a",
    )


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["pair", "lora", "../x", KEY]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["name", "kind", "labels", "portions", "score"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
PLACES = (
    [(name,) for name in asdict(module().manifest)]
    + [
        (name, key)
        for name, value in asdict(module().manifest).items()
        if isinstance(value, dict)
        for key in value
    ]
    + [("mixture", "portions", 0, key) for key in ("task", "languages", "variant", "examples")]
    + [("exposure", 0, key) for key in ("task", "language", "role", "data")]
    + [("heads", "pair2_24cee6", key) for key in ("kind", "labels")]
)


@QUIET
@given(place=st.sampled_from(PLACES), value=ANY)
def test_any_value_anywhere_is_taken_whole_or_refused(tmp_path, place, value):
    """Nothing but a user's mistake comes out of a manifest; what is taken can be written and read
    again."""
    values = asdict(module().manifest)
    at = values
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(values))
    try:
        found = serialization.read_manifest(tmp_path)
    except XittError as error:
        assert str(path) in str(error)
        return
    assert manifest.problems(asdict(found)) == [] and asdict(found) == values


def test_a_loss_that_diverged_is_written_as_null(tmp_path):
    made = module()
    metrics = {"score": 1.0, "headline": "f1", "history": [{"step": 1, "loss": float("nan")}]}
    serialization.write_module(
        serialization.Module(replace(made.manifest, metrics=metrics), made.tensors), tmp_path / "m"
    )
    assert serialization.read_manifest(tmp_path / "m").metrics["history"] == [
        {"step": 1, "loss": None}
    ]


def test_what_could_not_be_read_is_not_written(tmp_path):
    made = module()
    with pytest.raises(ValueError, match="seed: must be"):
        serialization.write_module(
            serialization.Module(replace(made.manifest, seed=-1), made.tensors), tmp_path / "m"
        )
    assert not (tmp_path / "m").exists()


# -- the store and the bench -----------------------------------------------------------------------


def test_keys_in_a_store_are_no_paths(tmp_path):
    store = Store(tmp_path / "store")
    store.save_module(module())
    store.write_json(tmp_path / "store" / "names" / "good.json", {"key": KEY})
    assert store.resolve("good") == KEY
    for bad in ("../../secret", "/etc/passwd", KEY[:-1], KEY + "/..", KEY.upper(), None, 7, [KEY]):
        store.write_json(tmp_path / "store" / "names" / "evil.json", {"name": "evil", "key": bad})
        refused(lambda: store.resolve("evil"), "evil.json: damaged")
        assert store.resolve("good") == KEY
    for bad in ("../../secret", "", KEY[:-1]):
        for call in (store.module_folder, store.load_module, store.load_data_set):
            refused(lambda call=call, bad=bad: call(bad), "a key is 64 hex digits")


def test_a_module_under_another_key_is_refused(tmp_path):
    store = Store(tmp_path)
    store.save_module(module())
    store.module_folder(KEY).rename(store.module_folder(OTHER))
    refused(lambda: store.load_module(OTHER), KEY[:12], "under another module's key")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"digest": KEY}, "not the one it is named after"),
        ({"ids": "abc"}, "this is no data set"),
        ({"ids": [1]}, "this is no data set"),
        ({"task": None}, "this is no data set"),
        ({"more": 1}, "this is no data set"),
    ],
)
def test_a_data_set_that_is_none_is_refused(tmp_path, changes, words):
    record = {
        "task": "xnli",
        "language": "en",
        "split": "dev",
        "digest": OTHER,
        "ids": ["a"],
        "texts": ["b"],
    }
    store = Store(tmp_path)
    store.write_json(tmp_path / "data" / f"{OTHER}.json", record)
    assert store.load_data_set(OTHER).ids == {"a"}
    store.write_json(tmp_path / "data" / f"{OTHER}.json", record | changes)
    refused(lambda: store.load_data_set(OTHER), f"{OTHER}.json", words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"encoder": digest("another"), "encoder_name": "another"},
            "was made for the encoder another",
        ),
        ({"method": choose("lora", {"rank": 4096}).record()}, "most tensors are missing"),
        ({"method": choose("full", {}).record()}, "most tensors are missing"),
    ],
)
def test_a_module_that_does_not_fit_is_refused_where_it_is_mounted(
    tmp_path, pico_files, changes, words
):
    from adapters_xitt.modules.methods import from_record

    made = module()
    lying = replace(made.manifest, **{"encoder": pico_files.fingerprint, **changes})
    there = session.ModelSession(pico_files, pico.fabric())
    assert there.adapted.methods == {}  # built outside the bounds
    refused(
        lambda: there.add(serialization.Module(lying, made.tensors), from_record(lying.method)),
        words,
    )
    assert there.adapted.methods == {}


# -- encoders --------------------------------------------------------------------------------------

TOKENIZERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a Python class": (
        lambda found: found | {"pre_tokenizer": {"type": "Custom", "class": "os.system"}}
    ),
    "a class by name": lambda found: found | {"decoder": {"type": "PyDecoder", "module": "evil"}},
    "a file for a vocabulary": (
        lambda found: found | {"model": {"type": "Unigram", "vocab": "/etc/passwd"}}
    ),
    "an unknown model": lambda found: found | {"model": {"type": "Evil"}},
    "a list": lambda found: [],
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_cannot_choose_code_or_files(tmp_path, pico_dir, name):
    for file in pico_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    found = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(TOKENIZERS[name](found)))
    refused(
        lambda: pretrained.load_tokenizer(pretrained.inspect(str(tmp_path))),
        "tokenizer.json: not a tokenizer",
    )


def test_keys_beside_a_tokenizer_choose_nothing(tmp_path, pico_dir, pico_tokenizer):
    for file in pico_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenization_evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for name in (
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "adapter_config.json",
    ):
        (tmp_path / name).write_text(
            json.dumps(
                {
                    "auto_map": {"AutoTokenizer": ["tokenization_evil.Tokenizer", None]},
                    "tokenizer_class": "Evil",
                    "_attn_implementation_internal": "evil/kernels",
                    "base_model_name_or_path": "evil/repo",
                }
            )
        )
    found = pretrained.load_tokenizer(pretrained.inspect(str(tmp_path)))
    assert (
        found("the red cat").input_ids == pico_tokenizer("the red cat").input_ids
        and not (tmp_path / "ran").exists()
    )


# -- xitt inspect ----------------------------------------------------------------------------------


def xitt(*words: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "adapters_xitt.cli", *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", **environment},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def flat(text: str) -> str:
    return " ".join(re.sub("[│┃]", " ", text).split())


def test_inspect_shows_a_module_without_building_anything(folder):
    code = (
        "import sys; from adapters_xitt.cli import inspect; from pathlib import Path\nstatus ="
        f" inspect.inspect({str(folder)!r}, store=None)\nprint([name for name in ('torch',"
        " 'transformers', 'adapters', 'peft') if name in sys.modules], status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    told = flat(done.stdout)
    assert done.stdout.splitlines()[-1] == "[] 0"
    for words in (
        f"key {KEY}",
        "Exposure: trained on xnli in en",
        "encoder 2 13 0.00 F32",
        "head.pair2_24cee6 1 2",
        "all 3 15",
        "module.safetensors",
        "No problem found.",
    ):
        assert words in told, words


def test_inspect_tells_every_problem_and_exits_with_1(folder):
    write(folder, seed=-1, role="x\x1b]0;owned\x07", digest="0" * 64)
    (folder / "adapter.safetensors").write_bytes(pickle.dumps(Payload(folder / "ran")))
    (folder / "pytorch_model_head.bin").write_bytes(b"\x80\x04")
    (folder / "adapter_config.json").symlink_to("../secret.json")
    done = xitt("inspect", folder)
    told = flat(done.stdout)
    assert done.returncode == 1 and "\x1b" not in done.stdout and not (folder / "ran").exists()
    for words in (
        "seed: must be",
        "role: must be",
        "a pickle under the name of a safetensors file",
        "5 problems.",
        "pytorch_model_head.bin: a pickle",
        "adapter_config.json: a link that leads out",
    ):
        assert words in told, words


def test_inspect_says_when_the_tensors_are_not_those_of_the_manifest(folder, capsys):
    from adapters_xitt.cli import inspect

    whole = bytearray((folder / "module.safetensors").read_bytes())
    whole[-1] ^= 1
    (folder / "module.safetensors").write_bytes(bytes(whole))
    assert inspect.inspect(str(folder), store=None) == 1
    assert "the file was changed or damaged" in flat(capsys.readouterr().out)


def test_inspect_finds_a_module_of_the_store_by_name(tmp_path, capsys):
    from adapters_xitt.cli import inspect

    store = Store(tmp_path)
    store.save_module(module())
    store.give_name("mine", KEY)
    for word in ("mine", KEY[:8]):
        assert inspect.inspect(word, store=tmp_path) == 0
        assert "xnli" in capsys.readouterr().out
    refused(lambda: inspect.inspect("mime", store=tmp_path), "Did you mean 'mine'?")
    refused(lambda: inspect.inspect("no/such", store=tmp_path), "no such file or folder")


# -- what other libraries write --------------------------------------------------------------------

PICKLED = {
    "adapters/pytorch_adapter.bin": "adapter.safetensors",
    "adapters/pytorch_model_head.bin": "model_head.safetensors",
    "fusion/pytorch_model_adapter_fusion.bin": "model_adapter_fusion.safetensors",
    "peft/adapter_model.bin": "adapter_model.safetensors",
}


@pytest.fixture(scope="module")
def foreign(pico_dir, tmp_path_factory) -> Path:
    """Folders that `adapters` and `peft` wrote by themselves: pickled, and as safetensors under
    "safe"."""
    import adapters
    import peft
    from transformers import AutoModelForSequenceClassification

    root = tmp_path_factory.mktemp("foreign")
    model = adapters.AutoAdapterModel.from_pretrained(str(pico_dir))
    for name in ("a", "b"):
        model.add_adapter(name, config="seq_bn")
    model.add_classification_head("a", num_labels=3)
    model.add_adapter_fusion("a,b")
    low = peft.get_peft_model(
        AutoModelForSequenceClassification.from_pretrained(str(pico_dir), num_labels=3),
        peft.LoraConfig(task_type="SEQ_CLS", r=4),
    )
    for safe in (False, True):
        under = root / "safe" if safe else root
        under.mkdir(exist_ok=True)
        model.save_adapter(str(under / "adapters"), "a", use_safetensors=safe)
        model.save_adapter_fusion(str(under / "fusion"), "a,b", use_safetensors=safe)
        low.save_pretrained(str(under / "peft"), safe_serialization=safe)
    return root


def test_inspect_says_what_other_libraries_wrote(foreign, capsys):
    from adapters_xitt.cli import inspect

    for name, form in (
        ("adapters", "of adapters (AdapterHub)"),
        ("peft", "of peft"),
        ("fusion", "of adapters"),
    ):
        assert inspect.inspect(str(foreign / "safe" / name), store=None) == 0
        told = flat(capsys.readouterr().out)
        assert form in told and "No problem found." in told
        assert inspect.inspect(str(foreign / name), store=None) == 1
        assert "xitt convert --trust-pickle" in flat(capsys.readouterr().out)


@pytest.mark.parametrize("name", PICKLED)
def test_a_converted_pickle_is_the_file_the_library_writes(foreign, tmp_path, name):
    """Same names and bits as in the pickle, and as in the library's own safetensors file of the
    same weights."""
    source = foreign / name
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    refused(lambda: pickles.convert(path, trusted=False), "pickles can run code", "--trust-pickle")
    assert list(tmp_path.iterdir()) == [path]
    made = pickles.convert(path, trusted=True)
    assert made == tmp_path / PICKLED[name] and set(tmp_path.iterdir()) == {path, made}
    back = safe_files.read_tensors(made)
    assert pico.same(back, torch.load(source, weights_only=True))
    assert pico.same(
        back, safe_files.read_tensors(foreign / "safe" / source.parent.name / made.name)
    )
    before = made.read_bytes()
    refused(lambda: pickles.convert(path, trusted=True), "never overwritten")
    assert made.read_bytes() == before


def old(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


class Strange:
    """A class that torch knows nothing of."""


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a payload": (
        lambda p: p.write_bytes(pickle.dumps(Payload(p.with_name("ran")))),
        "more than tensors",
    ),
    "a payload in a zip": (lambda p: torch.save({"a": Payload(p.with_name("ran"))}, p), "asks for"),
    "a payload in the old form": (lambda p: old({"a": Payload(p.with_name("ran"))}, p), "asks for"),
    "a class": (lambda p: torch.save({"a": Strange()}, p), "asks for"),
    "a dictionary within": (
        lambda p: torch.save({"a": {"b": torch.ones(1)}}, p),
        "'a' is dict, not a plain tensor",
    ),
    "a number within": (lambda p: torch.save({"a": torch.ones(1), "step": 3}, p), "'step' is int"),
    "a list": (lambda p: torch.save([torch.ones(1)], p), "it holds list"),
    "a number for a name": (lambda p: torch.save({1: torch.ones(1)}, p), "one of its keys is int"),
    "a sparse tensor": (
        lambda p: torch.save({"a": torch.eye(3).to_sparse()}, p),
        "'a' is Tensor, not a plain tensor",
    ),
    "a terabyte of one value": (
        lambda p: torch.save({"a": torch.ones(1).expand(2**38)}, p),
        "tensors claim",
    ),
    "cut short": (
        lambda p: (torch.save({"a": torch.ones(99)}, p), p.write_bytes(p.read_bytes()[:-200])),
        "",
    ),
    "no pickle": (lambda p: p.write_bytes(b"hello" * 9), "can't read it"),
    "empty": (lambda p: p.write_bytes(b""), "an empty file"),
    "a folder": (lambda p: p.mkdir(), "a folder in place of a file"),
    "a pipe": (lambda p: os.mkfifo(p), "not a plain file"),
    "complex numbers": (
        lambda p: torch.save({"a": torch.ones(1, dtype=torch.complex64)}, p),
        "dtype",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_pickle_of_anything_else_is_refused_and_nothing_runs(tmp_path, name):
    make, words = WRONG[name]
    path = tmp_path / "adapter_model.bin"
    make(path)
    with pytest.raises(XittError) as caught:
        pickles.convert(path, trusted=True)
    told = str(caught.value)
    assert str(path) in told or name == "complex numbers", told
    assert words in told and "weights_only" not in told, told
    assert list(tmp_path.iterdir()) == [path], "nothing ran, nothing is left"


def test_a_payload_does_run_where_nobody_prevents_it(tmp_path):
    """The payload above is one: read the careless way, it leaves its file."""
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    pickle.loads(path.read_bytes()).close()
    assert (tmp_path / "ran").exists()


def test_the_old_form_of_torch_is_read_too(tmp_path):
    weights = {"a": torch.randn(3, 2), "b": torch.ones(2).bfloat16(), "c": torch.randn(4, 4).T}
    old(weights, tmp_path / "x.pt")
    made = pickles.convert(tmp_path / "x.pt", tmp_path / "y.safetensors", trusted=True)
    assert pico.same(safe_files.read_tensors(made), weights)


def test_a_conversion_knows_nothing_of_the_environment(tmp_path, monkeypatch):
    """Neither PYTHONPATH nor a module in the folder it runs in, nor secrets, reach the process that
    reads."""
    for name in ("torch.py", "sitecustomize.py", "resource.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "secret")
    given_to: list[dict[str, str]] = []
    run = subprocess.run

    def watched(*words: Any, **rest: Any) -> Any:
        given_to.append(rest["env"])
        return run(*words, **rest)

    monkeypatch.setattr(subprocess, "run", watched)
    torch.save({"a": torch.ones(1)}, tmp_path / "x.bin")
    pickles.convert(tmp_path / "x.bin", trusted=True)
    assert not (tmp_path / "ran").exists() and not {"HF_TOKEN", "PYTHONPATH", "HTTPS_PROXY"} & set(
        given_to[0]
    )


# -- the console script ----------------------------------------------------------------------------


def test_the_console_script_refuses_with_exit_status_2(folder, tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "adapter_model.bin")
    write(folder, seed=-1)
    store = tmp_path / "store"
    (store / "modules").mkdir(parents=True)
    folder.rename(store / "modules" / KEY)
    for words, said in (
        (("convert", tmp_path / "adapter_model.bin"), "--trust-pickle"),
        (("convert", "--trust-pickle", tmp_path / "secret.json"), "not the name of a pickle"),
        (("show", KEY[:8], "--store", store), "seed: must be a whole number"),
        (("inspect", tmp_path / "nowhere"), "no such file or folder"),
    ):
        done = xitt(*words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    done = xitt("convert", "--trust-pickle", tmp_path / "adapter_model.bin")
    assert done.returncode == 0 and (tmp_path / "adapter_model.safetensors").is_file()
