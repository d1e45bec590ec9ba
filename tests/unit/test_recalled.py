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


def test_a_direction_whose_candidate_was_never_raced_is_told_again() -> None:
    known = Recalled(directions=(advice("name the sender"),))
    assert known.told(2, [followed("name the sender")]).directions == ()
    assert known.told(2, [followed("name the sender", fate="untried")]).directions == known.directions


def test_a_round_is_told_a_few_directions_and_the_next_one_others() -> None:
    known = Recalled(directions=tuple(advice(f"say {word}") for word in ("who", "what", "when", "where", "why")))
    first, second = (known.told(number, ()).directions for number in (1, 2))
    assert (first, second) == (known.directions[:3], (*known.directions[3:], known.directions[0]))


def test_advice_that_came_to_nothing_again_and_again_is_told_no_more() -> None:
    known = Recalled(directions=tuple(advice(f"say {word}") for word in ("a", "b", "c", "d", "e", "f", "g")))
    lost = [followed(direction.text, candidate=direction.lesson) for direction in known.directions[:6]]
    assert set(known.told(2, lost[:5]).directions) == set(known.directions[5:])
    assert known.told(2, lost).directions == ()
    won = [*lost[:5], lost[5].model_copy(update={"fate": "accepted"})]
    assert known.told(2, won).directions == known.directions[6:]


def test_where_advice_has_a_round_of_its_own_the_best_directions_are_told_in_the_searchs_first() -> None:
    offer = Offer(candidate="c", run="r", text="t", gain=0.1)
    directions = tuple(advice(f"say {word}") for word in ("who", "what", "when", "where"))
    known = Recalled(directions=directions, prompts=(offer,), refuted=(Recipe(instructions="none"),))
    assert [known.told(number, ()).directions for number in (2, 3)] == [
        directions[:3],
        (directions[3], *directions[:2]),
    ]


def test_what_is_for_the_opening_alone_is_left_out_after_it() -> None:
    offer = Offer(candidate="c", run="r", text="t", gain=0.1)
    known = Recalled(prompts=(offer,), refuted=(Recipe(instructions="none"),))
    assert [bool(known.told(number, ()).prompts) for number in (0, 1, 2)] == [True, True, False]
    assert [bool(known.told(number, ()).refuted) for number in (0, 1, 2)] == [True, True, False]
