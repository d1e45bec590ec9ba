from pathlib import Path

import pytest

from crito.errors import BudgetExhausted
from crito.graph.run import _keep_for_verdict
from crito.task import Budget
from crito.tools.meter import Spend
from tests.builders import make_deps, make_outcome


@pytest.mark.parametrize(("round_", "kept"), [(0, 100), (1, 27_599)])
async def test_a_resumed_run_keeps_back_what_its_last_round_measured(tmp_path: Path, round_: int, kept: int) -> None:
    budget = Budget(tokens=100_000)
    async with make_deps(tmp_path, budget=budget, verdict=Spend(calls=24, tokens=100)) as deps:
        await deps.archive.record([make_outcome(deps.seed, example, 1.0, tokens=1000) for example in deps.val])
        _keep_for_verdict(deps, {"round": round_, "incumbent": deps.seed})
        deps.ledger.meter.reserve(Spend(tokens=100_000 - kept))
        with pytest.raises(BudgetExhausted):
            deps.ledger.meter.reserve(Spend(tokens=1))
