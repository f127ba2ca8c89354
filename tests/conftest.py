"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: `XITT_DATA`, else `shared/data` beside the repository."""
    folder = Path(os.environ.get("XITT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set XITT_DATA to the data folder")
    return folder


@pytest.fixture(scope="session")
def encoders_dir() -> Path:
    """The folder of real encoders: `XITT_ENCODERS`, else `shared/encoders` beside the repository."""
    folder = Path(os.environ.get("XITT_ENCODERS") or Path(__file__).resolve().parents[2] / "shared" / "encoders")
    if not folder.is_dir():
        pytest.skip(f"no encoders at {folder}; set XITT_ENCODERS to their folder")
    return folder


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
    from adapters_xitt import encoder

    return encoder.inspect(str(pico_dir))


@pytest.fixture(scope="session")
def pico_tokenizer(pico_files):
    from adapters_xitt import encoder

    return encoder.load_tokenizer(pico_files)
