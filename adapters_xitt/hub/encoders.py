"""Transport from a model hub: named files of a pinned revision, nothing that runs."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from adapters_xitt.errors import XittError
from adapters_xitt.hub import bounds
from adapters_xitt.hub.references import pinned_reference

ENCODER_FILES = (
    "config.json",
    "tokenizer.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
)
MOST, MOST_FILES = 64 * 2**30, 200  # bytes and files: XLM-R XXL has 43 GB in fp32
_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def encoder_reference(text: str) -> tuple[str, str]:
    """`owner/name@revision` as the two; the revision is a full commit, because a branch moves."""
    problem = (
        f"encoder {text!r}: not a folder, and not 'owner/name@revision' with a 40-digit commit"
    )
    reference = pinned_reference(text, problem)
    if reference.revision is None or not _NAME.fullmatch(reference.repo):
        raise XittError(problem)
    return reference.repo, reference.revision


def fetch_encoder(reference: str, *, weights: bool = True) -> Path:
    """The local folder of a hub encoder, downloaded where the cache lacks it; without `weights` its
    configuration and tokenizer alone."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    repo, revision = encoder_reference(reference)
    bounds.install()
    try:
        _check_size(repo, revision)
        wanted = ENCODER_FILES if weights else ENCODER_FILES[:2]
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(wanted)))
    except (OSError, HFValidationError, RecursionError) as error:
        raise XittError(
            f"encoder {reference}: the hub can't be reached or has no such revision "
            f"({type(error).__name__}); put its files in a folder and name the folder instead"
        ) from None


def _check_size(repo: str, revision: str) -> None:
    """Refuses an encoder that is larger than any there is before a byte of it is downloaded.
    Without a hub to ask, the cache may still have it."""
    from huggingface_hub import HfApi

    try:
        files = HfApi().model_info(repo, revision=revision, files_metadata=True).siblings or []
    except OSError:
        return
    wanted = [
        file
        for file in files
        if any(fnmatchcase(file.rfilename, pattern) for pattern in ENCODER_FILES)
    ]
    total = sum(file.size or 0 for file in wanted)
    if total > MOST or len(wanted) > MOST_FILES:
        raise XittError(
            f"encoder {repo}@{revision}: {len(wanted)} files of {total:,} bytes, more than the "
            f"{MOST_FILES} files and {MOST:,} bytes that an XLM-R may have; nothing was downloaded"
        )
