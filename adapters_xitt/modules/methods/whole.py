"""Methods that put nothing beside the encoder's weights: all of them trained, or none."""

from __future__ import annotations

from adapters_xitt.modules.methods.method import MODES, Method

_NO_MODULE = (
    "a fully fine-tuned encoder is no module that another could be put above, beside or over"
)
_NOTHING = "the head alone leaves nothing in the encoder to carry over"

WHOLE = (
    Method(
        name="full",
        about="every weight of the encoder: the baseline that people compare with",
        engine="full",
        modes=("none", "sequential"),
        learning_rate=1e-5,
        layer_tensors=None,
        drawn=False,
        reads_weights=True,
        refusals=dict.fromkeys(MODES, _NO_MODULE),
        no_library="it is every weight of an encoder and no adapter",
    ),
    Method(
        name="head",
        about="the raw encoder under a trained head: what its own features are worth",
        engine="head",
        modes=("none",),
        learning_rate=1e-3,
        drawn=False,
        refusals=dict.fromkeys(MODES, _NOTHING),
        no_library=(
            "it puts nothing into the encoder, and the libraries save a head beside an adapter only"
        ),
    ),
)
