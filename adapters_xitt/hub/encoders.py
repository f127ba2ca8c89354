"""Transport from a model hub: named files of a pinned revision, nothing that runs."""

from __future__ import annotations

import re
from pathlib import Path

from adapters_xitt.errors import XittError

ENCODER_FILES = ("config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json",
                 "model-*-of-*.safetensors")
_REFERENCE = re.compile(r"(?P<repo>[\w.-]+(?:/[\w.-]+)?)@(?P<revision>[0-9a-f]{40})")


def parse_reference(reference: str) -> tuple[str, str]:
    """`owner/name@revision` as the two; the revision is a full commit, because a branch moves."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise XittError(f"encoder {reference!r}: not a folder, and not 'owner/name@revision' with a 40-digit commit")
    return found["repo"], found["revision"]


def fetch_encoder(reference: str) -> Path:
    """The local folder of a hub encoder, downloaded where the cache lacks it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    repo, revision = parse_reference(reference)
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(ENCODER_FILES)))
    except (OSError, HFValidationError) as error:  # every error of the hub's and of requests is an OSError
        raise XittError(f"encoder {reference}: the hub can't be reached or has no such revision "
                        f"({type(error).__name__}); put its files in a folder and name the folder instead") from None
