import io
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crito.bench_figures import figures, resampled
from crito.bench_plot import plot
from crito.bench_report import print_figures
from crito.errors import BadInput
from tests.toy_bench import result


def shown(*cells: object) -> str:
    screen = io.StringIO()
    print_figures(Console(file=screen, width=40, highlight=False, markup=False), figures([*cells]))  # type: ignore[list-item]
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
    assert (found.calls_target, found.calls_agents, found.tokens) == (90, 10, 1100)
    assert (found.prompt_tokens, found.prompt_tokens_target, found.seconds, found.runs) == (50, 900, 2, 2)


def test_differences_are_paired_over_task_and_seed_against_default() -> None:
    levels = {"a": 0.2, "b": 0.9}
    cells = [
        result(preset, task, seed, test_score=level - (0.1 if preset == "lean" else 0.0))
        for preset in ("lean", "default")
        for task, level in levels.items()
        for seed in range(5)
    ]
    (found,) = figures(cells).differences
    assert (found.preset, found.other, found.pairs) == ("default", "lean", 10)
    assert found.difference == pytest.approx(0.1)
    assert found.interval[1] - found.interval[0] < 0.2  # unpaired it would be as wide as the tasks differ


def test_without_default_the_first_preset_is_the_reference() -> None:
    assert figures([result("lean"), result("random")]).differences[0].preset == "lean"


def test_the_tables_have_every_preset_and_task_and_are_never_folded() -> None:
    said = shown(*(result(p, t) for p in ("default", "random") for t in ("sst2", "a_task_with_a_long_name", "trec")))
    assert " default  0.500 ±" in said
    assert "a_task_with_a_long_name" in said
    assert "default minus the others" in said
    assert "…" not in said


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
