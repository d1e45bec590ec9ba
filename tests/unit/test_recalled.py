import pytest

from crito.memory.attempts import Attempt
from crito.memory.lessons import lessons
from crito.memory.recalled import Advice, Offer, Recalled, taken_up
from crito.memory.recipe import Recipe
from tests.unit.test_lessons import observed

MANY = "name the sender; leave out greetings; one word is enough"


def advice(text: str) -> Advice:
    return Advice.of(lessons([observed(text=text)])[0])


def followed(hypothesis: str, **fields: object) -> Attempt:
    given = {"candidate": "x", "parent": "s", "round": 1, "operator": "o", "author": "rewriter", "fate": "not_better"}
    return Attempt.model_validate({**given, "hypothesis": f"wrong_content: {hypothesis}", **fields})


@pytest.mark.parametrize("hypothesis", [MANY, f"list the labels; {MANY}", f"{MANY}; list the labels"])
def test_a_direction_that_names_several_things_is_recognised(hypothesis: str) -> None:
    assert taken_up(advice(MANY), [followed(hypothesis)]) is not None


def test_a_part_of_a_direction_is_not_the_whole() -> None:
    assert taken_up(advice(MANY), [followed("list the labels; name the sender")]) is None


def test_each_direction_is_told_in_one_round_the_best_first() -> None:
    known = Recalled(directions=tuple(advice(f"say {word}") for word in ("who", "what", "when", "where", "why")))
    told = [known.told(number).directions for number in (1, 2, 3)]
    assert told == [known.directions[:3], known.directions[3:], ()]


def test_where_advice_has_a_round_of_its_own_the_best_directions_are_told_in_the_searchs_first() -> None:
    offer = Offer(candidate="c", run="r", text="t", gain=0.1)
    directions = tuple(advice(f"say {word}") for word in ("who", "what", "when", "where"))
    known = Recalled(directions=directions, prompts=(offer,), refuted=(Recipe(instructions="none"),))
    assert [known.told(number).directions for number in (2, 3)] == [directions[:3], directions[3:]]


def test_what_is_for_the_opening_alone_is_left_out_after_it() -> None:
    offer = Offer(candidate="c", run="r", text="t", gain=0.1)
    known = Recalled(prompts=(offer,), refuted=(Recipe(instructions="none"),))
    assert [bool(known.told(number).prompts) for number in (0, 1, 2)] == [True, True, False]
    assert [bool(known.told(number).refuted) for number in (0, 1, 2)] == [True, True, False]
