import re
from typing import Any

import pytest

from crito.errors import BadInput
from crito.prompt import Demo, Message, Prompt
from crito.task import Budget, Example, Splits, Task, example_id
from crito.tools.limits import (
    DEFAULT_CALLS,
    capped,
    check_context,
    check_reach,
    complete,
    estimate,
    fit,
    message_tokens,
    output_limit,
    prompt_tokens,
    wavering,
)
from crito.tools.meter import Spend
from crito.tools.prices import Price
from tests.builders import make_example
from tests.builders import make_task as built_task

CHEAP = Price(1e-6, 2e-6, 1e-6)
FREE = Price(0.0, 0.0, 0.0)


def examples(prefix: str, count: int, *, length: int = 40, answer: str | None = "yes") -> tuple[Example, ...]:
    rows = [{"input": f"{prefix}{number} ".ljust(length, "x")} for number in range(count)]
    return tuple(Example(id=example_id(inputs), inputs=inputs, expected=answer) for inputs in rows)


def task_of(*, train: int = 20, val: int = 30, test: int = 40, **options: Any) -> Task:
    splits = Splits(train=examples("a", train), val=examples("b", val), test=examples("c", test))
    values = {
        "name": "toy",
        "description": "Say yes.",
        "inputs": ("input",),
        "output": "answer",
        "splits": splits,
        "prompts": {"main": Prompt.from_text("Say yes.")},
        "model": "scripted",
        "agent_model": "scripted",
        **options,
    }
    return Task.model_validate(values)


def test_a_token_is_about_four_characters_and_a_message_five_tokens() -> None:
    assert message_tokens([Message(role="user", content="x" * 40)] * 2) == 2 * (10 + 5)


def test_a_prompts_tokens_include_its_demonstrations_and_not_its_input() -> None:
    prompt = Prompt.from_text("x" * 40)
    with_demo = prompt.model_copy(update={"demos": (Demo(inputs={"input": "y" * 40}, output="z" * 8),)})
    assert prompt_tokens(prompt) == 10 + 5 + 5
    assert prompt_tokens(with_demo) == prompt_tokens(prompt) + 15 + 7


def test_answers_are_capped_near_the_longest_expected_one() -> None:
    assert output_limit(task_of(splits=Splits(train=examples("a", 2, answer="x" * 50), val=(), test=()))) == 28


def test_the_test_splits_answers_set_no_cap() -> None:
    splits = Splits(train=examples("a", 2), val=(), test=examples("c", 2, answer="x" * 900))
    assert output_limit(task_of(splits=splits)) < 30


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"max_output_tokens": 77}, 77),
        ({"reasoning": True}, 512),
        ({"metric": "judge"}, 256),
        ({"splits": Splits(train=examples("a", 2, answer=None), val=(), test=())}, 256),
        ({"splits": Splits(train=examples("a", 2, answer="x" * 9000), val=(), test=())}, 1024),
    ],
)
def test_answers_have_room_where_their_length_is_not_known(options: dict[str, Any], limit: int) -> None:
    assert output_limit(task_of(**options)) == limit


def test_labels_count_as_expected_answers() -> None:
    assert output_limit(task_of(labels=("x" * 100, "y"))) == 48


def test_a_budget_without_a_limit_gets_one_on_calls() -> None:
    assert complete(Budget(seconds=60), CHEAP, CHEAP) == Budget(seconds=60, calls=DEFAULT_CALLS)


@pytest.mark.parametrize("prices", [(FREE, FREE), (FREE, CHEAP), (None, FREE)])
def test_dollars_limit_no_calls_that_cost_none(prices: tuple[Price | None, Price | None]) -> None:
    free = prices == (FREE, FREE)
    assert complete(Budget(usd=1.0), *prices) == Budget(usd=1.0, calls=DEFAULT_CALLS if free else None)


@pytest.mark.parametrize("budget", [Budget(calls=5), Budget(tokens=5), Budget(usd=5)])
def test_a_budget_with_a_limit_is_left_as_it_is(budget: Budget) -> None:
    assert complete(budget, CHEAP, CHEAP) == budget


def test_an_ample_budget_uses_all_examples() -> None:
    task, _ = fit(task_of(budget=Budget(calls=10_000)), None, None)
    assert (len(task.splits.val), len(task.splits.test)) == (30, 40)


def test_a_small_budget_uses_the_first_examples_of_each_split() -> None:
    whole = task_of(budget=Budget(calls=150))
    task, _ = fit(whole, None, None)
    assert task.splits.test == whole.splits.test[:30]
    assert task.splits.val == whole.splits.val[:15]
    assert task.splits.train == whole.splits.train


def test_the_verdict_gets_no_more_than_its_share() -> None:
    _, kept = fit(task_of(budget=Budget(calls=200, verdict_share=0.2)), None, None)
    assert kept.calls == 40


def test_what_is_kept_back_is_enough_for_both_prompts_on_every_test_example() -> None:
    task, kept = fit(task_of(budget=Budget(calls=10_000, usd=100)), CHEAP, CHEAP)
    assert kept.calls == 2 * len(task.splits.test)
    assert kept.tokens > kept.calls
    assert 0 < kept.usd < 1


def test_fitting_again_changes_nothing() -> None:
    once = fit(task_of(budget=Budget(calls=150)), None, None)
    assert fit(once[0], None, None) == once


def test_fitting_again_changes_nothing_where_the_longest_answer_was_cut_off() -> None:
    val = (*examples("b", 15), *examples("long", 15, answer="x" * 900))
    splits = Splits(train=examples("a", 20), val=val, test=examples("c", 40))
    once = fit(task_of(splits=splits, budget=Budget(tokens=60_000)), CHEAP, CHEAP)
    assert len(once[0].splits.val) <= 15
    assert fit(once[0], CHEAP, CHEAP) == once


def scored(*labels: str) -> dict[str, Any]:
    answered = {name: examples(name, 40, answer=labels[0]) for name in ("train", "val", "test")}
    return {"metric": "label", "labels": labels, "scoring": "likelihood", "splits": Splits(**answered)}


def test_the_first_token_of_an_answer_is_one_call_of_one_token() -> None:
    task, kept = fit(task_of(**scored("date", "count"), budget=Budget(calls=400)), None, None)
    assert (kept.calls, output_limit(task)) == (2 * len(task.splits.test), 1)


def test_a_whole_answer_takes_a_call_for_each_piece_that_labels_share() -> None:
    task, kept = fit(task_of(**scored("num_date", "num_count"), budget=Budget(calls=900, usd=1.0)), CHEAP, None)
    single = fit(task_of(**scored("date", "count"), budget=Budget(calls=300, usd=1.0)), CHEAP, None)[1]
    assert kept.calls == 3 * 2 * len(task.splits.test) == 3 * single.calls
    assert kept.tokens > 3 * single.tokens
    assert kept.usd > 3 * single.usd


def test_the_words_of_the_prompt_decide_how_many_calls_a_whole_answer_takes() -> None:
    worded = Prompt.from_text("Say yes.").model_copy(update={"words": {"num_date": "A", "num_count": "B"}})
    task = task_of(**scored("num_date", "num_count"), prompts={"main": worded}, budget=Budget(calls=400))
    fitted, kept = fit(task, None, None)
    assert kept.calls == 2 * len(fitted.splits.test)


def test_a_whole_answer_has_room_in_the_context() -> None:
    assert output_limit(task_of(**scored("num_date", "num_count"))) == 11  # 9 / 2.5 + 8


def test_a_judges_ruling_is_a_call_too() -> None:
    task, kept = fit(task_of(metric="judge", budget=Budget(calls=400)), None, None)
    assert kept.calls == 4 * len(task.splits.test)
    assert estimate(task, None, None).calls == 400
    with pytest.raises(BadInput, match=r"about 120 calls, too few .* the least that works is about 196 calls"):
        fit(task_of(metric="judge", budget=Budget(calls=120)), None, None)


def test_dear_agents_make_a_run_dearer() -> None:
    task, dear = task_of(budget=Budget(calls=500)), Price(1e-4, 2e-4, 1e-4)
    cheap = estimate(task, CHEAP, CHEAP).usd
    assert cheap is not None
    assert (estimate(task, CHEAP, dear).usd or 0) > 2 * cheap
    assert estimate(task, CHEAP, None).usd is None


@pytest.mark.parametrize("share", [0.1, 0.4, 0.6, 0.9])
@pytest.mark.parametrize(("val", "test"), [(30, 40), (10, 10), (200, 16), (4, 500)])
def test_the_least_budget_that_is_named_works_and_one_call_less_does_not(share: float, val: int, test: int) -> None:
    with pytest.raises(BadInput, match="the least that works is about") as caught:
        fit(task_of(val=val, test=test, budget=Budget(calls=3, verdict_share=share)), None, None)
    (least,) = map(int, re.findall(r"about (\d+) calls$", str(caught.value)))
    fit(task_of(val=val, test=test, budget=Budget(calls=least, verdict_share=share)), None, None)
    with pytest.raises(BadInput):
        fit(task_of(val=val, test=test, budget=Budget(calls=least - 1, verdict_share=share)), None, None)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(calls=12), "12 calls"),
        (Budget(tokens=300), "300 tokens"),
        (Budget(usd=0.0001), "0.0001 US dollars"),
        (Budget(calls=12, tokens=10**6), "12 calls and 1e+06 tokens"),
    ],
)
def test_a_budget_that_is_too_small_is_named_as_the_user_wrote_it(budget: Budget, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        fit(task_of(budget=budget), CHEAP, CHEAP)
    assert str(caught.value).startswith(f"budget: {words} reaches for about ")


def test_few_examples_ask_for_no_more_than_there_are() -> None:
    task, kept = fit(task_of(val=3, test=3, budget=Budget(calls=40)), None, None)
    assert (len(task.splits.val), len(task.splits.test), kept) == (3, 3, Spend(6, kept.tokens, 0.0))


def test_the_estimate_is_the_tightest_limit() -> None:
    assert estimate(task_of(budget=Budget(calls=500)), None, None).calls == 500
    assert estimate(task_of(budget=Budget(calls=10**6, usd=0.01)), CHEAP, CHEAP).calls < 1000


def test_an_estimate_without_a_price_has_no_cost() -> None:
    guess = estimate(task_of(budget=Budget(calls=500)), None, None)
    assert guess.usd is None
    assert guess.tokens > 500


def test_a_prompt_that_fits_the_models_context_passes() -> None:
    check_context(task_of(), None)
    check_context(task_of(), 200)


def test_an_input_that_is_too_long_for_the_model_is_named() -> None:
    longest = examples("long", 1, length=4000)
    splits = Splits(train=examples("a", 5), val=examples("b", 5), test=longest)
    with pytest.raises(BadInput, match=rf"with example {longest[0].id} it has about 10\d\d tokens"):
        check_context(task_of(splits=splits), 1000)


def test_the_cap_on_prompt_tokens_leaves_room_for_the_longest_input() -> None:
    task = built_task(train=(make_example("word " * 100, "a"), make_example("short", "b")))
    free = capped(task, 4000).max_prompt_tokens
    assert free is not None
    assert free + 100 < 4000
    assert capped(task, None) == task
    tight = task.model_copy(update={"max_prompt_tokens": 50})
    assert capped(tight, 4000).max_prompt_tokens == 50


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_the_longest_input_of_any_split_sets_the_cap(split: str) -> None:
    task = built_task(max_output_tokens=8, **{split: (make_example("x" * 400),)})
    assert capped(task, 4000).max_prompt_tokens == 4000 - 8 - 100


def test_repeats_are_paid_from_the_verdicts_share_alone() -> None:
    whole = task_of(budget=Budget(calls=300))
    once, _ = fit(whole, None, None)
    often, kept = fit(whole.model_copy(update={"repeats": 3, "temperature": 1.0}), None, None)
    assert (len(once.splits.test), len(often.splits.test)) == (40, 20)
    assert kept.calls == 2 * 20 * 3
    assert len(often.splits.val) == (300 - kept.calls) // 6


def test_a_budget_must_reach_for_repeats_and_variants() -> None:
    task = task_of(budget=Budget(calls=100), repeats=2)
    check_reach(task, task.splits.test, None, None, more=20)
    with pytest.raises(BadInput, match=r"100 of 101 answers, which need 101 calls; .* fewer examples, repeats or"):
        check_reach(task, task.splits.test, None, None, more=21)


@pytest.mark.parametrize(("temperature", "repeats", "warned"), [(0.0, 1, False), (0.7, 1, True), (0.7, 3, False)])
def test_noise_that_is_not_measured_is_told_of(temperature: float, repeats: int, warned: bool) -> None:
    said = wavering(built_task(temperature=temperature, repeats=repeats))
    assert (said is not None and "at temperature 0.7 answers waver" in said) == warned
