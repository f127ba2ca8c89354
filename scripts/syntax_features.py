"""Prints adapters_xitt/languages/syntax.py from URIEL's features.

python scripts/syntax_features.py FOLDER    a folder of lang2vec's with features.npz,
                                            feature_predictions.npz and letter_codes.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from adapters_xitt.languages import LANGUAGES

# URIEL's languages where ISO 639's macrolanguage is meant by our code: the standard one.
VARIETIES = {
    "ar": "arb",
    "az": "azj",
    "et": "ekk",
    "fa": "pes",
    "ms": "zsm",
    "qu": "quy",
    "sw": "swh",
    "zh": "cmn",
}
# A language of which sources mark fewer features, its macrolanguage's counted, isn't known.
FEWEST = 10

HEAD = '''\
"""URIEL's features of syntax, one bit each; predicted where no source has it (`syntax_knn`).

From URIEL (Littell et al. 2017) as lang2vec 1.1.2 has it (github.com/antonisa/lang2vec), which is
CC BY-SA 4.0, and so is this table; written by scripts/syntax_features.py.
Varieties: {varieties}.
Languages of which sources mark fewer than {fewest} of the {count} features are left out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# code -> the features, the first in the highest bit
SYNTAX: Mapping[str, int] = MappingProxyType(
    {{
'''


def module(folder: Path) -> str:
    """The text of the module."""
    predictions = np.load(folder / "feature_predictions.npz")
    marked = np.load(folder / "features.npz")
    letters = json.loads((folder / "letter_codes.json").read_text())
    chosen = [n for n, name in enumerate(predictions["feats"]) if name.startswith("S_")]
    places = {name: n for n, name in enumerate(predictions["langs"])}
    values = predictions["data"][:, chosen, 0].astype(int)
    counts = (marked["data"][:, chosen] >= 0).any(axis=2).sum(axis=1)
    lines = []
    for code in LANGUAGES:
        macro = letters.get(code, code)
        place = places.get(VARIETIES.get(code, macro))
        if place is None or max(counts[place], counts[places[macro]]) < FEWEST:
            continue
        bits = "".join(map(str, values[place]))
        lines.append(f'        "{code}": 0x{int(bits, 2):0{-(-len(chosen) // 4)}X},')
    varieties = " ".join(f"{code} {variety}" for code, variety in VARIETIES.items())
    head = HEAD.format(varieties=varieties, fewest=FEWEST, count=len(chosen))
    return head + "\n".join(lines) + "\n    }\n)\n"


if __name__ == "__main__":
    print(module(Path(sys.argv[1])), end="")
