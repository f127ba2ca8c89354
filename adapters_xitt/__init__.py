"""Zero-shot cross-lingual transfer grids with intermediate-task training, on adapters and LoRA over
one frozen encoder.

    import adapters_xitt as xitt

gives what the commands do as functions that return values and print nothing: `train`, `evaluate`,
`compose`, `explain`, `run`, `plan` and the others of `__all__`. Each is imported when it is first
used. What a user did wrong is a `XittError`, in the words of the command line."""

from __future__ import annotations

from importlib import import_module as _import
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Name → the room that it lies in.
_ROOMS = {
    "XittError": "errors",
    "show_progress": "progress",
    "Answers": "api.grids",
    "Evaluation": "api.grids",
    "Grid": "api.grids",
    "Report": "api.grids",
    "Submission": "api.grids",
    "Plan": "api.plans",
    "Module": "api.modules",
    "load": "api.modules",
    "list_modules": "api.modules",
    "list_results": "api.modules",
    "train": "api.training",
    "compose": "api.compositions",
    "evaluate": "api.compositions",
    "explain": "api.explain",
    "run": "api.studies",
    "plan": "api.studies",
    "load_run": "api.runs",
    "write_report": "api.runs",
    "ask": "api.runs",
    "submit": "api.runs",
    "score": "api.runs",
    "to_adapters": "api.exchange",
    "to_peft": "api.exchange",
    "export": "api.exchange",
    "import_module": "api.exchange",
    "convert": "api.exchange",
    "inspect": "api.inspection",
    "check_store": "api.stores",
    "list_tasks": "api.tasks",
    "show_task": "api.tasks",
    "show_example": "api.tasks",
    "upper_bound": "api.tasks",
    "check_data": "api.data",
    "fetch_data": "api.data",
    "hub_tasks": "api.data",
    "push": "api.hub",
    "pull": "api.hub",
    "search": "api.hub",
    "verify": "api.verification",
    "doctor": "api.doctor",
}

__all__ = sorted(_ROOMS)


def __getattr__(name: str) -> Any:
    """A name of the face, from its room."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import(f"{__name__}.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


if TYPE_CHECKING:
    from adapters_xitt.api.compositions import compose as compose
    from adapters_xitt.api.compositions import evaluate as evaluate
    from adapters_xitt.api.data import check_data as check_data
    from adapters_xitt.api.data import fetch_data as fetch_data
    from adapters_xitt.api.data import hub_tasks as hub_tasks
    from adapters_xitt.api.doctor import doctor as doctor
    from adapters_xitt.api.exchange import convert as convert
    from adapters_xitt.api.exchange import export as export
    from adapters_xitt.api.exchange import import_module as import_module
    from adapters_xitt.api.exchange import to_adapters as to_adapters
    from adapters_xitt.api.exchange import to_peft as to_peft
    from adapters_xitt.api.explain import explain as explain
    from adapters_xitt.api.grids import Answers as Answers
    from adapters_xitt.api.grids import Evaluation as Evaluation
    from adapters_xitt.api.grids import Grid as Grid
    from adapters_xitt.api.grids import Report as Report
    from adapters_xitt.api.grids import Submission as Submission
    from adapters_xitt.api.hub import pull as pull
    from adapters_xitt.api.hub import push as push
    from adapters_xitt.api.hub import search as search
    from adapters_xitt.api.inspection import inspect as inspect
    from adapters_xitt.api.modules import Module as Module
    from adapters_xitt.api.modules import list_modules as list_modules
    from adapters_xitt.api.modules import list_results as list_results
    from adapters_xitt.api.modules import load as load
    from adapters_xitt.api.plans import Plan as Plan
    from adapters_xitt.api.runs import ask as ask
    from adapters_xitt.api.runs import load_run as load_run
    from adapters_xitt.api.runs import score as score
    from adapters_xitt.api.runs import submit as submit
    from adapters_xitt.api.runs import write_report as write_report
    from adapters_xitt.api.stores import check_store as check_store
    from adapters_xitt.api.studies import plan as plan
    from adapters_xitt.api.studies import run as run
    from adapters_xitt.api.tasks import list_tasks as list_tasks
    from adapters_xitt.api.tasks import show_example as show_example
    from adapters_xitt.api.tasks import show_task as show_task
    from adapters_xitt.api.tasks import upper_bound as upper_bound
    from adapters_xitt.api.training import train as train
    from adapters_xitt.api.verification import verify as verify
    from adapters_xitt.errors import XittError as XittError
    from adapters_xitt.progress import show_progress as show_progress
