from pathlib import Path

import pytest

from crito.graph.recipes import recipe
from crito.memory.recipe import LARGEST
from crito.prompt import Demo
from tests.builders import SEED, make_candidate, make_deps, make_example


@pytest.mark.parametrize(("shown", "told"), [(1, 1), (3, 3), (4, LARGEST), (5, LARGEST)])
async def test_a_set_as_large_as_the_task_allows_counts_as_the_largest_of_all(
    tmp_path: Path, shown: int, told: int
) -> None:
    long = tuple(make_example(f"{number} " + "word " * 45, "billing") for number in range(9))  # four of them fit
    async with make_deps(tmp_path, train=long) as deps:
        demos = tuple(Demo(inputs=e.inputs, output="billing") for e in long[:shown])
        found = recipe(deps, make_candidate(prompt=SEED.model_copy(update={"demos": demos})))
    assert found is not None
    assert found.demos == told
    assert ("as many examples as fit" in found.text) == (told == LARGEST)


async def test_no_more_are_shown_than_the_shorter_two_thirds_of_the_examples(tmp_path: Path) -> None:
    few = tuple(make_example(f"train {number}", "billing") for number in range(9))
    async with make_deps(tmp_path, train=few) as deps:
        demos = tuple(Demo(inputs=e.inputs, output="billing") for e in few[:6])
        found = recipe(deps, make_candidate(prompt=SEED.model_copy(update={"demos": demos})))
    assert found is not None
    assert found.demos == LARGEST


async def test_what_says_something_of_its_own_is_no_recipe(tmp_path: Path) -> None:
    async with make_deps(tmp_path) as deps:
        assert recipe(deps, make_candidate("Look at the subject first.")) is None
