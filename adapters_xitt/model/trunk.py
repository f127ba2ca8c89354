"""The layers below all modules, run once for each feature and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from adapters_xitt.data.batching import collate, micro_batches
from adapters_xitt.data.features import Features
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup

BLOCK_TOKENS = 4096  # of the features that go through the trunk together
KEPT_BYTES = 4  # of each number that is kept
ROOM = 4 * 2**30  # bytes of what is kept; the sets of features asked for least lately go first


class KeptTrunk:
    """Hidden states at a depth below which no module lies and no dropout acts.

    A feature goes through the trunk in a block of its own set's features of like length, which
    nothing else decides: whoever asks first, in whatever batch, gets the same bits. Beside the
    states that a batch would give by itself they differ by rounding."""

    def __init__(self, adapted: AdaptedEncoder, fabric: Fabric, depth: int) -> None:
        self.adapted, self.fabric, self.depth = adapted, fabric, depth
        self._sets: OrderedDict[str, _States] = OrderedDict()

    @torch.no_grad()
    def hidden(self, features: Features, chosen: Sequence[int], length: int) -> Tensor:
        """The states [chosen, length, width] of some features, zeros where there is no token."""
        states = self._states(features)
        for block in states.missing(chosen):
            states.fill(block, self._run(features, states.blocks[block]))
        width, dtype = self.adapted.encoder.width, states.values.dtype
        hidden = torch.zeros(len(chosen), length, width, dtype=dtype)
        for place, feature in enumerate(chosen):
            of_feature = states.of(feature)
            hidden[place, : len(of_feature)] = of_feature
        return hidden.to(self.adapted.encoder.device)

    def _states(self, features: Features) -> _States:
        """What is kept of a set of features, or is from now on."""
        if features.digest not in self._sets:
            states = _States(features, self.adapted.encoder.width)
            while self._sets and states.size + sum(s.size for s in self._sets.values()) > ROOM:
                self._sets.popitem(last=False)
            self._sets[features.digest] = states
        self._sets.move_to_end(features.digest)
        return self._sets[features.digest]

    def _run(self, features: Features, chosen: Sequence[int]) -> list[Tensor]:
        """The states [tokens, width] of each feature of a block."""
        encoder = self.adapted.encoder
        arrays = collate(features, chosen, pad=encoder.files.config["pad_token_id"])
        ids, mask = (torch.from_numpy(arrays[name]).to(encoder.device) for name in ("ids", "mask"))
        self.adapted.activate(AdapterSetup((), (), None, self.depth))
        with self.adapted.evaluating(), self.fabric.autocast():
            hidden = encoder.run(encoder.embed(ids), mask, 0, self.depth).cpu()
        return [hidden[place, : int(size)] for place, size in enumerate(arrays["mask"].sum(1))]


class _States:
    """What is kept of one set of features."""

    def __init__(self, features: Features, width: int) -> None:
        lengths = features.lengths
        self._ends: NDArray[np.int64] = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self.blocks = micro_batches(lengths, range(len(lengths)), BLOCK_TOKENS)
        self._block_of = np.zeros(len(lengths), dtype=np.int64)
        for block, members in enumerate(self.blocks):
            self._block_of[members] = block
        self._filled = np.zeros(len(self.blocks), dtype=bool)
        self.values = torch.zeros(int(lengths.sum()), width)

    @property
    def size(self) -> int:
        """Bytes."""
        return KEPT_BYTES * self.values.numel()

    def missing(self, chosen: Sequence[int]) -> list[int]:
        """The blocks of some features that have not been run yet."""
        blocks = np.unique(self._block_of[np.asarray(chosen)])
        return blocks[~self._filled[blocks]].tolist()

    def fill(self, block: int, states: Sequence[Tensor]) -> None:
        """Keeps the states of every feature of a block."""
        for feature, of_feature in zip(self.blocks[block], states, strict=True):
            self.of(feature).copy_(of_feature)
        self._filled[block] = True

    def of(self, feature: int) -> Tensor:
        """The states [tokens, width] of a feature."""
        return self.values[self._starts[feature] : self._ends[feature]]
