"""Crito: a multi-agent prompt optimizer.

Names are loaded when they are first used, so that ``import crito`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crito import errors
    from crito.api import aevaluate, aoptimize, aresume, evaluate, optimize, resume
    from crito.errors import (
        BadInput,
        BudgetExhausted,
        CallFailed,
        CritoError,
        Interrupted,
        PatchRejected,
        ProviderFailure,
        ReplyUnusable,
    )
    from crito.memory.lesson_store import LessonStore
    from crito.patch import Edit, Patch
    from crito.prompt import Demo, Layout, Prompt, Section
    from crito.protocols import Metric, Model, ModelReply, ModelRequest, Output, Target, Usage
    from crito.records import Candidate, Critique, Outcome, Plan, Verdict
    from crito.result import Evaluation, Result
    from crito.task import Budget, Example, Score, Task

    __version__: str

__all__ = [
    "BadInput",
    "Budget",
    "BudgetExhausted",
    "CallFailed",
    "Candidate",
    "Critique",
    "CritoError",
    "Demo",
    "Edit",
    "Evaluation",
    "Example",
    "Interrupted",
    "Layout",
    "LessonStore",
    "Metric",
    "Model",
    "ModelReply",
    "ModelRequest",
    "Outcome",
    "Output",
    "Patch",
    "PatchRejected",
    "Plan",
    "Prompt",
    "ProviderFailure",
    "ReplyUnusable",
    "Result",
    "Score",
    "Section",
    "Target",
    "Task",
    "Usage",
    "Verdict",
    "__version__",
    "aevaluate",
    "aoptimize",
    "aresume",
    "errors",
    "evaluate",
    "optimize",
    "resume",
]

_HOMES = {
    "crito.api": ("aevaluate", "aoptimize", "aresume", "evaluate", "optimize", "resume"),
    "crito.errors": (
        *("BadInput", "BudgetExhausted", "CallFailed", "CritoError"),
        *("Interrupted", "PatchRejected", "ProviderFailure", "ReplyUnusable"),
    ),
    "crito.memory.lesson_store": ("LessonStore",),
    "crito.patch": ("Edit", "Patch"),
    "crito.prompt": ("Demo", "Layout", "Prompt", "Section"),
    "crito.protocols": ("Metric", "Model", "ModelReply", "ModelRequest", "Output", "Target", "Usage"),
    "crito.records": ("Candidate", "Critique", "Outcome", "Plan", "Verdict"),
    "crito.result": ("Evaluation", "Result"),
    "crito.task": ("Budget", "Example", "Score", "Task"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("crito")
    if name == "errors":
        return import_module("crito.errors")
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'crito' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
