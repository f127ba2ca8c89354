"""The methods, one row each, by name."""

from __future__ import annotations

from adapters_xitt.modules.methods.bottlenecks import BOTTLENECKS
from adapters_xitt.modules.methods.fusions import FUSION_METHODS
from adapters_xitt.modules.methods.low_rank import UPDATES
from adapters_xitt.modules.methods.method import Method
from adapters_xitt.modules.methods.whole import WHOLE

METHODS: dict[str, Method] = {method.name: method for method in (*BOTTLENECKS, *UPDATES, *WHOLE)}
FUSIONS: dict[str, Method] = {method.name: method for method in FUSION_METHODS}
