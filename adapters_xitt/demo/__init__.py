"""A small artificial world in nine real languages, with tasks and a mini encoder: everything runs without a download.

`write` writes the tasks' files, `world.corpus` the text the encoder was pre-trained on.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapters_xitt.demo.render import LANGUAGES
from adapters_xitt.demo.world import write

__all__ = ["LANGUAGES", "encoder_dir", "fingerprint", "write"]


def encoder_dir() -> Path:
    """The folder of the encoder that comes with the package."""
    return Path(__file__).parent / "encoder"


def fingerprint() -> str:
    """12 hex digits of the code and lexicons that make the world: another world has another name."""
    here, sha = Path(__file__).parent, hashlib.sha256()
    for path in sorted([*here.glob("*.py"), *here.glob("grammars/*.py"), *here.glob("lexicon/*.txt")]):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()[:12]
