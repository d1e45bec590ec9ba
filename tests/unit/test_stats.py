import time
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from crito.tools.stats import (
    best_probabilities,
    bootstrap_interval,
    eliminated,
    halving_sizes,
    noise,
    non_inferior,
    paired_test,
    thompson,
    wilson,
)

ARMS = (0.3, 0.4, 0.5, 0.6, 0.8)


def signs(rng: np.random.Generator, n: int, gain: float, loss: float) -> list[float]:
    return [float(d) for d in rng.choice([1.0, -1.0, 0.0], size=n, p=[gain, loss, 1 - gain - loss])]


def test_three_gains_and_no_loss_have_p_one_quarter() -> None:
    assert paired_test([1, 1, 1, 0, 0]) == pytest.approx(2 / 8)


def test_exact_test_counts_sums_of_unequal_differences() -> None:
    # of the 8 sign patterns of (3, 2, 1), the sums 6, 4, -4, -6 are at least as far out as 3 + 2 - 1 = 4
    assert paired_test([0.3, 0.2, -0.1]) == pytest.approx(4 / 8)


def test_no_difference_at_all_has_p_one() -> None:
    assert paired_test([]) == paired_test([0, 0, 0]) == 1.0


def test_the_two_sided_test_does_not_care_for_the_direction() -> None:
    for differences in ([1, 1, 1, -1], [0.5] * 14 + [-1.0] * 3):
        assert paired_test(differences) == pytest.approx(paired_test([-d for d in differences]), abs=0.01)


def test_monte_carlo_agrees_with_the_binomial_distribution() -> None:
    # 15 gains and 5 losses: twice the upper tail of Binomial(20, 1/2) from 15 on is .0414
    assert paired_test([1.0] * 15 + [-1.0] * 5) == pytest.approx(0.0414, abs=0.006)


def test_a_monte_carlo_p_value_is_never_zero_and_repeats_with_its_seed() -> None:
    assert paired_test([1.0] * 40, resamples=999) == pytest.approx(1 / 1000)
    differences = [0.1 * k for k in range(-5, 12)]
    assert paired_test(differences, seed=3) == paired_test(differences, seed=3)


@pytest.mark.parametrize("n", [10, 60])
def test_equal_prompts_are_called_different_in_at_most_five_percent(n: int) -> None:
    rng = np.random.default_rng(n)
    p_values = np.array([paired_test(signs(rng, n, 0.2, 0.2), resamples=500) for _ in range(1000)])
    assert np.mean(p_values <= 0.05) <= 0.065


def test_graded_differences_give_uniform_p_values_when_nothing_is_different() -> None:
    rng = np.random.default_rng(5)
    p_values = [paired_test(list(rng.normal(size=30)), resamples=300) for _ in range(600)]
    deciles = np.histogram(p_values, bins=10, range=(0, 1))[0] / 600
    assert np.all(np.abs(deciles - 0.1) < 0.045)


@pytest.mark.parametrize(
    ("n", "gain", "loss"), [(20, 0.3, 0.1), (20, 0.7, 0.05), (50, 0.1, 0.1), (50, 0.5, 0.1), (200, 0.1, 0.05)]
)
def test_the_interval_covers_the_true_difference_as_often_as_it_says(n: int, gain: float, loss: float) -> None:
    rng = np.random.default_rng(n)
    intervals = [bootstrap_interval(signs(rng, n, gain, loss), seed=k) for k in range(300)]
    coverage = np.mean([low - 1e-9 <= gain - loss <= high + 1e-9 for low, high in intervals])
    assert 0.92 <= coverage <= 0.99  # .93 to .97, and the noise of 300 repeats


def test_equal_answers_on_few_examples_do_not_give_an_interval_of_zero_width() -> None:
    low, high = bootstrap_interval([0.0] * 20)
    assert low < -0.04
    assert high > 0.04


def test_small_graded_differences_keep_a_small_interval() -> None:
    low, high = bootstrap_interval([0.01, 0.02, 0.015] * 10)
    assert 0.005 < low < 0.015 < high < 0.02


def test_a_higher_level_gives_a_wider_interval() -> None:
    differences = [1.0] * 8 + [-1.0] * 3 + [0.0] * 19
    narrow, wide = bootstrap_interval(differences, level=0.8), bootstrap_interval(differences, level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one difference"):
        bootstrap_interval([])


def test_wilson_matches_the_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_same_answers_are_not_inferior_and_clear_losses_are() -> None:
    assert non_inferior([0.0] * 20, 0.02)
    assert not non_inferior([-1.0] * 4 + [0.0] * 16, 0.02)


def test_a_small_loss_passes_only_with_a_wide_margin() -> None:
    differences = [-1.0] * 3 + [1.0] * 2 + [0.0] * 95
    assert not non_inferior(differences, 0.02)
    assert non_inferior(differences, 0.1)


def test_a_clearly_worse_candidate_is_eliminated() -> None:
    scores = {"good": [1.0] * 18 + [0.0] * 2, "fair": [1.0] * 17 + [0.0] * 3, "bad": [0.0] * 20}
    assert eliminated(scores, keep=1, alpha=0.05) == {"bad"}


def test_elimination_needs_as_many_victors_as_are_to_be_kept() -> None:
    scores = {"good": [1.0] * 20, "fair": [1.0] * 10 + [0.0] * 10, "bad": [0.0] * 20}
    assert eliminated(scores, keep=2, alpha=0.05) == {"bad"}
    assert eliminated(scores, keep=3, alpha=0.05) == frozenset()


def test_equal_candidates_all_stay() -> None:
    assert eliminated({name: [1.0, 0.0, 1.0, 0.0] for name in "abc"}, keep=1, alpha=0.2) == frozenset()


def test_an_equal_candidate_is_seldom_eliminated() -> None:
    rng = np.random.default_rng(2)
    races = [{"a": rng.random(20).tolist(), "b": rng.random(20).tolist()} for _ in range(300)]
    out = sum("a" in eliminated(race, keep=1, alpha=0.2) for race in races)
    assert out / 300 == pytest.approx(0.2, abs=0.07)


def test_a_race_over_different_items_is_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        eliminated({"a": [1.0], "b": [1.0, 0.0]}, keep=1, alpha=0.2)


def test_a_race_before_the_first_item_eliminates_nobody() -> None:
    assert eliminated({"a": [], "b": []}, keep=1, alpha=0.2) == frozenset()


def test_a_race_of_twelve_on_fifty_items_is_decided_in_milliseconds() -> None:
    rng = np.random.default_rng(0)
    scores = {f"c{k}": rng.random(50).round().tolist() for k in range(12)}
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        eliminated(scores, keep=3, alpha=0.2)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05  # 2 ms when the machine is free


def test_thompson_favours_the_arm_that_wins() -> None:
    rng = np.random.default_rng(0)
    picks = [thompson({"weak": (2, 8), "strong": (8, 2)}, rng) for _ in range(300)]
    assert 0.9 < picks.count("strong") / 300 < 1.0


def test_thompson_tries_untried_arms_alike() -> None:
    rng = np.random.default_rng(0)
    picks = [thompson({"a": (0, 0), "b": (0, 0)}, rng) for _ in range(400)]
    assert picks.count("a") / 400 == pytest.approx(0.5, abs=0.08)


def test_thompson_without_arms_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one arm"):
        thompson({}, np.random.default_rng(0))


def thompson_pick(rng: np.random.Generator) -> int:
    """The arm that 100 pulls went to most."""
    counts = {str(arm): [0.0, 0.0] for arm in range(5)}
    for _ in range(100):
        arm = thompson({name: (won, lost) for name, (won, lost) in counts.items()}, rng)
        counts[arm][int(rng.random() >= ARMS[int(arm)])] += 1
    return int(max(counts, key=lambda name: sum(counts[name])))


def halving_pick(rng: np.random.Generator) -> int:
    """What is left after 9 pulls of each arm on the rungs of 5, 3 and 2."""
    alive, won = list(range(5)), np.zeros(5)
    for size in halving_sizes(5, 4)[1:]:
        for arm in alive:
            won[arm] += rng.binomial(9, ARMS[arm])
        alive = sorted(alive, key=lambda arm: -won[arm])[:size]
    return alive[0]


@pytest.mark.parametrize("pick", [thompson_pick, halving_pick])
def test_the_best_of_five_arms_is_found(pick: Callable[[np.random.Generator], int]) -> None:
    # 182 to 192 of 200 in 600 trials of each rule; three standard errors of 182 are 12
    assert sum(pick(np.random.default_rng(seed)) == 4 for seed in range(200)) >= 170


def test_halving_rounds_up_and_ends_with_one() -> None:
    assert halving_sizes(5, 5) == [5, 3, 2, 1, 1]
    assert halving_sizes(0, 2) == [0, 0]


def test_the_probability_of_being_the_better_of_two_is_normal() -> None:
    # differences 1, 0, 0, 0: mean .25, sample variance .25, so z = .25 / sqrt(.25 / 4) = 1
    rows = {"a": [1.0, 0.5, 0.0, 0.5], "b": [0.0, 0.5, 0.0, 0.5]}
    assert best_probabilities(rows)["a"] == pytest.approx(NormalDist().cdf(1), abs=0.012)


def test_probabilities_of_being_best_are_paired() -> None:
    # alike up and down with the item: only the small steady difference tells them apart
    base = [0.0, 0.9, 0.1, 0.8, 0.3, 0.6]
    assert best_probabilities({"a": [x + 0.05 for x in base], "b": base}) == {"a": 1.0, "b": 0.0}


def test_equal_candidates_share_a_first_place_in_full() -> None:
    found = best_probabilities({"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [0.0, 0.0]})
    assert found["a"] == found["b"] == pytest.approx(NormalDist().cdf(1), abs=0.012)  # of c they are better at z = 1
    assert best_probabilities({"a": [1.0, 1.0], "b": [1.0, 1.0]}) == {"a": 1.0, "b": 1.0}


def test_probabilities_repeat_with_their_seed_and_need_two_items() -> None:
    rows = {"a": [1.0, 0.0, 1.0], "b": [0.0, 1.0, 1.0]}
    assert best_probabilities(rows, seed=3) == best_probabilities(rows, seed=3)
    for bad in ({"a": [1.0]}, {"a": [1.0, 0.0], "b": [1.0]}):
        with pytest.raises(ValueError, match="at least 2 items"):
            best_probabilities(bad)


def test_noise_is_the_pooled_variance_within_examples() -> None:
    assert noise([[0.0, 1.0], [1.0, 1.0, 1.0], [0.5], []]) == pytest.approx(0.5 / 3)
    with pytest.raises(ValueError, match="at least twice"):
        noise([[1.0], [0.0], []])


def repeated(rng: np.random.Generator, examples: int, samples: int) -> tuple[list[list[float]], list[list[float]]]:
    """Repeats of two equally good prompts: noise .16 each, differences of variance .09 from example to example."""
    base, tilt = rng.normal(0.5, 0.2, examples), rng.normal(0, 0.3, examples)
    first, second = ((base + sign * tilt / 2)[:, None] + rng.normal(0, 0.4, (examples, samples)) for sign in (1, -1))
    return first.tolist(), second.tolist()


def test_noise_is_found_again_in_simulated_repeats() -> None:
    rng = np.random.default_rng(0)
    assert np.mean([noise(repeated(rng, 30, 3)[0]) for _ in range(200)]) == pytest.approx(0.16, abs=0.006)


def test_averaged_repeats_keep_the_coverage_of_the_interval() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for seed in range(150):
        first, second = repeated(rng, 30, 4)
        differences = [float(np.mean(a) - np.mean(b)) for a, b in zip(first, second, strict=True)]
        low, high = bootstrap_interval(differences, seed=seed)
        covered += low <= 0 <= high
    assert covered / 150 >= 0.88
