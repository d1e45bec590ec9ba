import importlib
import subprocess
import sys

import pytest

import crito
from crito import errors

PUBLIC = [
    *("BadInput", "Budget", "BudgetExhausted", "CallFailed", "Candidate", "Critique", "CritoError", "Demo", "Edit"),
    *("Evaluation", "Example", "Interrupted", "Layout", "LessonStore", "Metric", "Model", "ModelReply"),
    *(
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
    ),
    *("Section", "Target", "Task", "Usage", "Verdict", "__version__", "aevaluate", "aoptimize", "aresume", "errors"),
    *("evaluate", "optimize", "resume"),
]


def run(code: str) -> str:
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return got.stdout.strip()


def test_all_is_sorted_and_exactly_the_public_api() -> None:
    assert crito.__all__ == sorted(PUBLIC)
    assert dir(crito) == crito.__all__


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(crito, name) is not None


@pytest.mark.parametrize("module", ["api", "patch", "prompt", "protocols", "records", "result", "task"])
def test_a_public_name_is_the_thing_of_its_module(module: str) -> None:
    home = importlib.import_module(f"crito.{module}")
    here = [name for name in PUBLIC if getattr(home, name, None) is not None]
    assert all(getattr(crito, name) is getattr(home, name) for name in here)


def test_every_error_is_public() -> None:
    tree = {n for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, errors.CritoError)}
    assert tree <= set(crito.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'optimise'"):
        crito.optimise  # noqa: B018


def test_importing_crito_imports_nothing_heavy() -> None:
    code = (
        "import sys, crito; heavy = {'litellm', 'langgraph', 'numpy', 'pydantic', 'sqlalchemy', 'yaml'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from crito.cli import app; app(['--help'], standalone_mode=False);"
        "print(sorted({'litellm', 'langgraph', 'numpy', 'pydantic', 'sqlalchemy'} & set(sys.modules)))"
    )
    assert run(code).splitlines()[-1] == "[]"


def test_the_version_is_the_packages() -> None:
    assert crito.__version__ == importlib.import_module("importlib.metadata").version("crito")
