"""Transport to and from a model hub: whole folders at pinned commits, nothing that runs.

`wire` tells the hub's errors in sentences and asks again where that helps, `references` reads what
people write, `listing` looks (commit, files, search), `pull` and `push` move a folder, `encoders`
fetches an encoder's files."""

from __future__ import annotations

from adapters_xitt.hub.encoders import ENCODER_FILES, encoder_reference, fetch_encoder
from adapters_xitt.hub.listing import (
    DATASET,
    RemoteFile,
    Repository,
    commit_of,
    list_files,
    search,
)
from adapters_xitt.hub.pull import Pulled, Selection, pull
from adapters_xitt.hub.push import Pushed, push_folder
from adapters_xitt.hub.references import (
    PREFIX,
    Reference,
    is_commit,
    pinned_reference,
    reference,
)
from adapters_xitt.hub.wire import again, readable_errors

__all__ = [
    "DATASET",
    "ENCODER_FILES",
    "PREFIX",
    "Pulled",
    "Pushed",
    "Reference",
    "RemoteFile",
    "Repository",
    "Selection",
    "again",
    "commit_of",
    "encoder_reference",
    "fetch_encoder",
    "is_commit",
    "list_files",
    "pinned_reference",
    "pull",
    "push_folder",
    "readable_errors",
    "reference",
    "search",
]
