"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The one place outside the repository that is looked at where the environment names none.
BESIDE = Path(__file__).resolve().parents[2] / "shared"


def _outside(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable) or BESIDE / name)
    if not folder.is_dir():
        pytest.skip(f"no real {name} at {folder}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data."""
    return _outside("XITT_DATA", "data")


@pytest.fixture(scope="session")
def encoders_dir() -> Path:
    """The folder of real encoders."""
    return _outside("XITT_ENCODERS", "encoders")


@pytest.fixture(scope="session")
def pico_dir(tmp_path_factory) -> Path:
    """The folder of the pico encoder."""
    import pico
    import torch

    torch.set_num_threads(1)
    return pico.write(tmp_path_factory.mktemp("pico"))


@pytest.fixture(scope="session")
def pico_files(pico_dir):
    """The pico encoder, inspected."""
    from adapters_xitt.model import pretrained

    return pretrained.inspect(str(pico_dir))


@pytest.fixture(scope="session")
def pico_tokenizer(pico_files):
    from adapters_xitt.model import pretrained

    return pretrained.load_tokenizer(pico_files)


@pytest.fixture(scope="session")
def pico_world(tmp_path_factory) -> Path:
    """A data folder with small files of the demo's tasks in words that the pico encoder knows."""
    import pico_world

    return pico_world.write(tmp_path_factory.mktemp("world"))
