from crito.graph.acceptance import better, cheaper


def test_better_is_a_mean_above_zero() -> None:
    assert better([1.0, 0.0, -0.5])
    assert not better([1.0, -1.0])
    assert not better([0.5, -1.0])


def test_noise_must_be_exceeded() -> None:
    # One-sided at .2: 0.8416 standard errors; the sum of 100 differences of variance .25 has a deviation of 5.
    assert better([0.0422] * 100, noise=0.25)
    assert not better([0.0420] * 100, noise=0.25)
    assert not better([0.0422] * 100, noise=0.25, alpha=0.1)


def test_nothing_is_accepted_on_no_evidence() -> None:
    assert not better([])
    assert not cheaper([], saved=10, margin=0.5)


def test_rounding_is_no_gain() -> None:
    assert sum([0.3, -0.1, -0.1, -0.1]) != 0
    assert not better([0.1, 0.2, -0.3])


def test_a_cheaper_prompt_with_the_same_answers_is_accepted() -> None:
    assert cheaper([0.0] * 20, saved=1, margin=0.02)


def test_a_prompt_that_saves_nothing_is_not_cheaper() -> None:
    assert not cheaper([0.0] * 20, saved=0, margin=0.02)
    assert not cheaper([1.0] * 20, saved=-5, margin=0.02)


def test_a_cheaper_prompt_may_lose_no_more_than_the_margin() -> None:
    losses = [-1.0] * 2 + [0.0] * 38
    assert not cheaper(losses, saved=10, margin=0.02)
    assert cheaper(losses, saved=10, margin=0.2)
