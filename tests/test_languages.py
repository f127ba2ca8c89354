"""The table of languages: what its columns select, and its distances against URIEL's own file."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adapters_xitt import languages
from adapters_xitt.errors import XittError
from adapters_xitt.languages import LANGUAGES, check_filter, distance, select
from adapters_xitt.languages.syntax import SYNTAX
from adapters_xitt.tasks import TASKS

SCRIPT = Path(__file__).resolve().parents[1] / "scripts/syntax_features.py"
VARIETIES = {"ar": "arb", "az": "azj", "et": "ekk", "fa": "pes", "ms": "zsm", "qu": "quy"} | {
    "sw": "swh",
    "zh": "cmn",
}


def plainly(column: str, holds) -> tuple[str, ...]:
    """The languages whose value of a column is known and holds, one by one."""
    values = {code: getattr(row, column) for code, row in LANGUAGES.items()}
    return tuple(code for code, value in values.items() if value is not None and holds(value))


@pytest.mark.parametrize(
    ("wanted", "column", "holds"),
    [
        ({"joshi": "<=2"}, "joshi", lambda value: value <= 2),
        ({"joshi": "> 3"}, "joshi", lambda value: value > 3),
        ({"joshi": 3}, "joshi", lambda value: value == 3),
        ({"joshi": "3"}, "joshi", lambda value: value == 3),
        ({"joshi": [0, 5]}, "joshi", lambda value: value in (0, 5)),
        ({"distance": ">0.3"}, "distance", lambda value: value > 0.3),
        ({"distance": ">=0.3"}, "distance", lambda value: value >= 0.3),
        ({"cc100_gib": "<1"}, "cc100_gib", lambda value: value < 1),
        ({"family": "Uralic"}, "family", lambda value: value == "Uralic"),
        ({"family": "Slavic"}, "family", lambda value: value == "IE: Slavic"),
        ({"family": "Basque"}, "family", lambda value: value.startswith("Basque")),
        ({"family": "IE"}, "family", lambda value: value.startswith("IE: ")),
        ({"family": "Indo-European"}, "family", lambda value: value.startswith("IE: ")),
        ({"script": ["Latn", "Cyrl"]}, "script", lambda value: value in ("Latn", "Cyrl")),
        ({"order": "SOV"}, "order", lambda value: value == "SOV"),
        ({"code": ["fi", "et"]}, "code", lambda value: value in ("fi", "et")),
        ({"name": "Finnish"}, "name", lambda value: value == "Finnish"),
    ],
)
def test_every_column_selects(wanted, column, holds):
    found = select(LANGUAGES, wanted)
    assert found.selected == plainly(column, holds) and found.selected
    not_known = [code for code, row in LANGUAGES.items() if getattr(row, column) is None]
    assert list(found.unknown) == not_known
    assert {column for column in languages.COLUMNS} == {*vars(LANGUAGES["fi"])}


def test_columns_together_mean_and_and_what_is_not_known_is_told_only_where_it_decides():
    codes = ["fi", "hu", "et", "hr", "sk", "yo", "tn"]
    found = select(codes, {"family": ["Uralic", "Slavic"], "order": "SVO", "joshi": ">3"})
    assert found.selected == ("fi",)  # Hungarian has two orders, Estonian class 3
    # Croatian's class and all of Slovak; Setswana's family is another
    assert found.unknown == ("hr", "sk")
    assert select([], {"joshi": 1}).selected == ()
    with pytest.raises(XittError, match="unknown language 'xx'"):
        select(["xx"], {"joshi": 1})


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"joshy": 1}, "unknown column 'joshy'. Did you mean 'joshi'?.*distance, order"),
        ({"family": "<3"}, "words can't be compared; the columns of numbers are cc100_gib, joshi"),
        ({"family": "Uralik"}, "unknown family 'Uralik'. Did you mean 'Uralic'?"),
        ({"order": [["SVO"]]}, "unknown order"),
        ({"order": []}, "unknown order"),
        ({"joshi": "=>3"}, r'joshi: expected a number, a comparison \("<2"'),
        ({"joshi": None}, "not None"),
        ({"joshi": True}, "not True"),
        ({"joshi": float("nan")}, "not nan"),
        ({"joshi": [1, "<3"]}, "a list is of numbers alone"),
        ({}, "by a list of codes, or by columns"),
        (["fi"], "by a list of codes, or by columns"),
        ({"joshi": "<<1", "ordr": "SVO"}, "2 problems"),
    ],
)
def test_a_filter_that_cannot_be_read_says_what_could_stand_there(wanted, said):
    with pytest.raises(XittError, match=f"(?s){said}"):
        check_filter(wanted)


def test_the_benchmarks_languages_are_known_whole():
    tested = {code for name in ("udpos", "panx", "xnli", "tatoeba") for code in TASKS[name].known}
    for code in tested:
        row = LANGUAGES[code]
        assert None not in (row.joshi, row.order, row.distance), code


def test_distances_are_of_any_two_and_the_column_is_theirs_to_english():
    for code, row in LANGUAGES.items():
        assert distance(code, "en") == row.distance == distance("en", code)
        assert distance(code, code) in (0.0, None)
    assert distance("fi", "et") < distance("fi", "en") < distance("fi", "tr")
    assert distance("fi", "nah") is None
    with pytest.raises(XittError, match="unknown language 'xx'"):
        distance("fi", "xx")


def features(folder: Path, name: str) -> tuple[dict[str, int], np.ndarray]:
    """The place of each language, and the features of syntax [languages, features, sources]."""
    stored = np.load(folder / name)
    chosen = [n for n, feature in enumerate(stored["feats"]) if feature.startswith("S_")]
    return {code: n for n, code in enumerate(stored["langs"])}, stored["data"][:, chosen]


def test_what_uriels_sources_mark_with_one_voice_is_in_the_table(data_dir):
    """Its file of sources is at hand here; only what no source has is predicted."""
    folder = data_dir / "langmeta/lang2vec/data"
    letters = json.loads((folder / "letter_codes.json").read_text())
    places, marked = features(folder, "features.npz")
    compared = 0
    for code, bits in SYNTAX.items():
        ours = np.array([int(bit) for bit in f"{bits:0{marked.shape[1]}b}"])
        sources = marked[places[VARIETIES.get(code, letters.get(code, code))]]
        highest, lowest = sources.max(axis=1), np.where(sources < 0, 2, sources).min(axis=1)
        assert (ours[highest == lowest] == highest[highest == lowest]).all(), code
        compared += int((highest == lowest).sum())
    assert compared > 4500


def test_the_script_writes_the_table_from_lang2vecs_files():
    """All of it, where lang2vec is installed, whose files have the predicted features."""
    found = importlib.util.find_spec("lang2vec")
    if found is None:
        pytest.skip("needs lang2vec's files: pip install lang2vec")
    folder = Path(found.origin).parent / "data"
    printed = subprocess.run(
        [sys.executable, SCRIPT, folder], capture_output=True, text=True, check=True
    ).stdout
    assert printed == Path(languages.syntax.__file__).read_text()
    places, values = features(folder, "feature_predictions.npz")
    for code in ("fi", "de", "ta", "yo"):
        iso = json.loads((folder / "letter_codes.json").read_text())[code]
        one, english = (values[places[name], :, 0] for name in (iso, "eng"))
        cosine = one @ english / np.linalg.norm(one) / np.linalg.norm(english)
        assert distance(code, "en") == pytest.approx(1 - cosine, abs=0.0051)
