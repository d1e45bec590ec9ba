import io
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crito.bench_cells import CellResult
from crito.bench_figures import figures, resampled
from crito.bench_plot import plot
from crito.bench_report import print_figures
from crito.calls import Cost
from crito.errors import BadInput
from tests.toy_bench import result


def shown(*cells: CellResult, usd: bool = False) -> str:
    screen = io.StringIO()
    print_figures(Console(file=screen, width=40, highlight=False, markup=False), figures(cells), usd=usd)
    return screen.getvalue()


def test_a_score_is_the_mean_over_seeds() -> None:
    found = figures([result(seed=0, test_score=0.4), result(seed=1, test_score=0.6)])
    assert found.by_task[0].score == pytest.approx(0.5)


def test_the_interval_covers_the_true_score_of_crossed_seeds_and_examples_nearly_always() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(40):
        easy, luck = rng.normal(0, 0.2, 80), rng.normal(0, 0.05, 5)
        chances = np.clip(0.6 + easy[None, :] + luck[:, None], 0, 1)
        drawn = (rng.random(chances.shape) < chances).astype(float)
        cells = [result(seed=s, scores={str(i): float(v) for i, v in enumerate(row)}) for s, row in enumerate(drawn)]
        low, high = figures(cells).by_task[0].interval
        covered += low <= 0.6 <= high
    assert covered >= 36


def test_seeds_that_disagree_widen_the_interval() -> None:
    def width(first: float, second: float) -> float:
        scores = [{str(i): float(i < 50 * share * 2) for i in range(100)} for share in (first, second)]
        low, high = figures([result(seed=s, scores=scores[s]) for s in (0, 1)]).by_task[0].interval
        return high - low

    assert width(0.3, 0.7) > width(0.5, 0.5) + 0.1


def test_equal_answers_throughout_leave_an_interval_that_holds_the_score() -> None:
    low, high = figures([result(scores={str(i): 1.0 for i in range(20)})]).by_task[0].interval
    assert 0.6 < low < 0.99
    assert high == 1.0


def test_an_example_whose_call_failed_is_left_out_and_is_no_zero() -> None:
    whole = {str(i): 1.0 for i in range(40)}
    part = {name: score for name, score in whole.items() if int(name) >= 10}
    assert resampled([result(scores=whole), result(seed=1, scores=part)]).mean() == pytest.approx(0.98, abs=0.01)


def test_a_preset_is_a_mean_over_tasks_with_gap_and_spend_by_role() -> None:
    cells = [result(task="a", test_score=0.2, val_score=0.5), result(task="b", test_score=0.8, val_score=0.9)]
    found = figures(cells).by_preset[0]
    assert [found.score, found.gap] == pytest.approx([0.5, 0.2])
    assert (found.calls, found.tokens) == ({"target": 90, "critic": 4, "rewriter": 6}, 1100)
    assert found.usd == pytest.approx(0.04)
    assert (found.prompt_tokens_target, found.prompt_tokens_agents) == (900, 100)
    assert (found.prompt_tokens, found.seconds, found.runs) == (50, 2, 2)


def test_a_role_that_one_run_did_not_ask_counts_as_no_call_of_it() -> None:
    cells = [result(), result(seed=1, costs={"target": Cost(calls=50), "critic": Cost(calls=8, usd=None)})]
    found = figures(cells).by_preset[0]
    assert found.calls == {"target": 70, "critic": 6, "rewriter": 3}
    assert found.usd is None


def levels(share: float, number: int = 200) -> dict[str, float]:
    """So many examples, every other of which is easy, with their scores."""
    return {str(at): min(1.0, share + 0.5 * (at % 2)) for at in range(number)}


def test_differences_are_paired_by_seed_and_example_against_default() -> None:
    cells = [
        result(preset, task, seed, scores=levels(share - (0.1 if preset == "lean" else 0.0)))
        for preset in ("lean", "default")
        for task, share in {"a": 0.1, "b": 0.5}.items()
        for seed in range(5)
    ]
    (found,) = figures(cells).differences
    assert (found.preset, found.other, found.pairs) == ("default", "lean", 10)
    assert found.difference == pytest.approx(0.1)
    assert found.interval[0] < 0.1 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.05  # unpaired it would be as wide as the examples differ


def test_the_interval_of_a_difference_is_as_wide_as_few_shared_examples_make_it() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(40):
        gain = rng.choice([-1.0, 0.0, 1.0], 25)  # of an example, alike for all seeds; 0 on average
        cells = [result("default", seed=s, scores={str(i): 0.5 + g / 2 for i, g in enumerate(gain)}) for s in range(5)]
        cells += [result("lean", seed=s, scores={str(i): 0.5 for i in range(25)}) for s in range(5)]
        low, high = figures(cells).differences[0].interval
        covered += low <= 0.0 <= high
    assert covered >= 36  # the five seeds are alike: their differences alone would make an interval of no width


def test_a_difference_leaves_out_examples_that_one_of_both_did_not_answer() -> None:
    cells = [result("default", scores={"x": 1.0, "y": 0.0}), result("lean", scores={"x": 0.5})]
    assert figures(cells).differences[0].difference == pytest.approx(0.5)


def test_without_default_the_first_preset_is_the_reference() -> None:
    assert figures([result("lean"), result("random")]).differences[0].preset == "lean"


def test_the_tables_have_every_preset_and_task_and_are_never_folded() -> None:
    said = shown(*(result(p, t) for p in ("default", "random") for t in ("sst2", "a_task_with_a_long_name", "trec")))
    assert " default  0.500 ±" in said
    assert "a_task_with_a_long_name" in said
    assert "default minus the others" in said
    assert "…" not in said


def test_the_table_has_calls_by_role_and_dollars_where_they_are_the_limit() -> None:
    assert "calls target  calls critic  calls rewriter" in shown(result())
    assert "USD" not in shown(result())
    dear, unknown = result(), result(costs={"target": Cost(usd=None)})
    assert shown(dear, usd=True).splitlines()[6].split()[-1] == "0.0400"
    assert shown(unknown, usd=True).splitlines()[6].split()[-1] == "?"


def test_one_preset_has_no_table_of_differences() -> None:
    assert "minus" not in shown(result())


def test_names_of_tasks_are_no_markup() -> None:
    assert "[red]x" in shown(result(task="[red]x"))


def test_without_plotly_the_plot_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(BadInput, match=r"crito\[plot\]"):
        plot(figures([result()]), tmp_path / "bench.html")
    assert not list(tmp_path.iterdir())


def test_the_plot_has_one_point_a_preset_at_its_spend(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    plot(figures([result("default"), result("random", test_score=0.25)]), tmp_path / "bench.html")
    text = (tmp_path / "bench.html").read_text()
    assert '"x":[1100.0],"y":[0.25]' in text
    assert text.count('"mode":"markers+text"') == 2
    assert '"arrayminus"' in text
