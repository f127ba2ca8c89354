"""Broken files, for every reader: a clear DataError that says which file and where, or the right
rows."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reader_cases import CASES, Case

from adapters_xitt.data.dataset import READERS
from adapters_xitt.data.exposure import hash_texts
from adapters_xitt.data.readers import Reading
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.hashing import digest

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def refused(case: Case, folder: Path, data: bytes) -> str:
    """The message, which starts with the file."""
    with pytest.raises(DataError) as caught:
        case(folder, data)
    text = str(caught.value)
    assert text.startswith(str(folder)), text
    return text


def test_every_reader_has_a_case():
    read = {getattr(case.read, "func", case.read) for case in CASES.values()}
    assert read == set(READERS.values())


@each
def test_a_whole_file_is_read_whichever_way_its_lines_end(case, tmp_path):
    rows = case(tmp_path, case.text.encode()).rows
    assert len(rows) == case.rows
    for text in (
        case.text.replace("\n", "\r\n"),
        "\ufeff" + case.text,
        case.text + "\n\n",
        case.text.rstrip("\n"),
    ):
        assert case(tmp_path, text.encode()).rows == rows, text


@each
def test_what_is_wrong_in_a_file_is_told_with_its_place(case, tmp_path):
    for old, new, parts in case.wrong.values():
        assert old in case.text
        with pytest.raises(DataError) as caught:
            case(tmp_path, case.text.replace(old, new, 1).encode())
        message = str(caught.value)
        assert message.startswith(str(tmp_path))
        for part in parts:
            assert part in message, message


@each
def test_other_encodings_are_refused(case, tmp_path):
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "latin-1"):
        message = refused(case, tmp_path, case.text.encode(encoding))
        assert ": expected UTF-8, found " in message and "convert the file" in message


@each
def test_no_data_is_told(case, tmp_path):
    for data in (b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"):
        refused(case, tmp_path, data)


@each
def test_a_folder_and_nothing_at_all_are_told(case, tmp_path):
    others = {key: tmp_path / key for key in case.beside}
    for key, other in others.items():
        other.write_text(case.beside[key])
    for path, part in (
        (tmp_path, "expected a file, found a folder"),
        (tmp_path / "none", "no such file"),
        (tmp_path / "no" / "none", "no folder"),
    ):
        with pytest.raises(DataError, match=part):
            case.read(path, split="s", **others)


@each
def test_a_line_of_ten_megabytes_is_read(case, tmp_path):
    rows = case(tmp_path, case.text.replace("é", "é" * 5_000_000).encode()).rows
    assert len(rows) == case.rows


@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.json],
    ids=[name for name, case in CASES.items() if case.json],
)
def test_json_that_is_cut_short_is_told_with_its_line(case, tmp_path):
    cut = case.text.rstrip()[: -len(case.text) // 3]
    message = refused(case, tmp_path, cut.encode())
    assert f":{cut.count(chr(10)) + 1}: expected JSON, found at column " in message, message
    assert "the file may be cut short" in message


@each
def test_a_packed_file_that_is_cut_short_is_told(case, tmp_path):
    path = tmp_path / f"{case.name}.gz"
    packed = gzip.compress(case.text.encode())
    others = {key: tmp_path / key for key in case.beside}
    for key, other in others.items():
        other.write_text(case.beside[key])
    path.write_bytes(packed)
    assert len(case.read(path, split="s", **others).rows) == case.rows
    path.write_bytes(packed[:-12])
    with pytest.raises(DataError, match="fetch the file again"):
        case.read(path, split="s", **others)


def test_numbers_of_thousands_of_digits_are_told(tmp_path):
    big = "9" * 5000
    for old, new in (("1\té", f"1-{big}\té"), ("2\tcat", f"{big}\tcat"), ("\t0\t_", f"\t{big}\t_")):
        data = CASES["conllu-fused"].text.replace(old, new, 1).encode()
        if old != "\t0\t_":
            assert len(refused(CASES["conllu-fused"], tmp_path, data)) < 400
        else:
            with pytest.raises(DataError, match="a head that leads to the root"):
                CASES["conllu-fused"](tmp_path, data)
    for name in ("parallel", "socialiqa"):
        with pytest.raises(DataError, match=r"gold\.txt:1: expected"):
            CASES[name](tmp_path, CASES[name].text.encode(), gold=f"{big}\n0\n".encode())


# -- any bytes at all

MARKS = (
    "\t",
    "\n",
    "\r",
    "\n\n",
    '"',
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "#",
    "-",
    "1-2",
    "1-",
    "0",
    "9" * 5000,
    "-1",
    "\\ud800",
    "\\u00e9",
    "null",
    "true",
    "1e999",
    "NaN",
    "é",
    "\u2028",
    "\ufeff",
    "\0",
    "_",
    "(<L ",
    "ID=",
    "０",
    "²",
    "[" * 3000,
)
places = st.floats(0, 1, allow_nan=False)
edits = st.lists(
    st.tuples(
        st.sampled_from(("cut", "put", "copy")),
        places,
        places,
        st.one_of(st.sampled_from(MARKS).map(str.encode), st.binary(max_size=4)),
    ),
    max_size=4,
)


def edited(data: bytes, changes) -> bytes:
    """The data with slices cut, copied or followed by something else."""
    for what, one, two, more in changes:
        start, end = sorted((int(one * len(data)), int(two * len(data))))
        if what == "put":
            data = data[:start] + more + data[start:]
        else:
            data = (
                data[:start] + data[end:]
                if what == "cut"
                else data[:end] + data[start:end] + data[end:]
            )
    return data


def read_or_refused(case: Case, folder: Path, data: bytes, **beside: bytes) -> None:
    """Rows that the rest of the project can use, or a user's mistake."""
    try:
        reading = case(folder, data, **beside)
    except XittError as error:
        assert str(folder) in str(error)
        return
    assert isinstance(reading, Reading)
    for row in reading.rows:
        assert isinstance(row["id"], str) and isinstance(row["group"], str)
        assert all(len(text) == 16 for text in hash_texts(row).texts)
    digest(reading.rows)


quietly = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@each
@quietly
@given(changes=edits)
def test_a_file_with_anything_changed_is_read_or_refused(case, tmp_path, changes):
    read_or_refused(case, tmp_path, edited(case.text.encode(), changes))


@each
@quietly
@given(
    data=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    )
)
def test_any_bytes_are_read_or_refused(case, tmp_path, data):
    read_or_refused(case, tmp_path, data)


@pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.beside],
    ids=[name for name, case in CASES.items() if case.beside],
)
@quietly
@given(changes=edits)
def test_files_beside_it_are_read_or_refused(case, tmp_path, changes):
    for key, text in case.beside.items():
        read_or_refused(case, tmp_path, case.text.encode(), **{key: edited(text.encode(), changes)})


@each
def test_every_beginning_of_a_file_is_read_or_refused(case, tmp_path):
    data = case.text.encode()
    for end in range(len(data)):
        read_or_refused(case, tmp_path, data[:end])
