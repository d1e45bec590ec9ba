import pytest

from crito.agents.demo_sizes import set_sizes
from crito.prompt import Demo
from tests.builders import make_task


@pytest.mark.parametrize(
    ("letters", "sizes"), [(40, [2, 4, 6, 8, 10, 12]), (160, [2, 4]), (320, [2, 4]), (480, [2, 4]), (700, [2, 4])]
)
def test_the_two_smallest_sizes_fit_whatever_the_length(letters: int, sizes: list[int]) -> None:
    demos = [Demo(inputs={"input": "x" * letters}, output="billing")]
    assert set_sizes(demos, make_task(labels=())) == sizes
