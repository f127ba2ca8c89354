"""A small artificial world in nine real languages, with tasks and a mini encoder: everything runs without a download.

`world.write` writes the tasks' files, `world.corpus` the text the encoder was pre-trained on.
"""

from __future__ import annotations

from pathlib import Path

from adapters_xitt.demo.render import LANGUAGES

__all__ = ["LANGUAGES", "encoder_dir"]


def encoder_dir() -> Path:
    """The folder of the encoder that comes with the package."""
    return Path(__file__).parent / "encoder"
