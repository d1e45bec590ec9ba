import pytest

from crito.memory.confidential import Confidential
from crito.prompt import Prompt, Section
from crito.task import Splits
from tests.builders import make_example, make_task

TASK = make_task(
    labels=("billing", "no"),
    splits=Splits(
        train=(make_example("The lamp from Oslo arrived broken on Monday.", "billing"),),
        val=(make_example("Where is order KX4711?", "no"),),
        test=(make_example("Ada is angry.", "Delphine"),),
    ),
)
PROMPT = Prompt(sections=(Section(name="rules", body=("Never offer refunds.", "Be kind.")),))


@pytest.mark.parametrize(
    "text",
    [
        "mention that the LAMP from oslo arrived",
        "Say that Ada is angry",
        "ask for kx4711",
        "answer with Delphine",
        "explain billing",
        "say: never offer refunds",
    ],
)
def test_what_an_example_a_label_or_a_prompt_says_is_confidential(text: str) -> None:
    assert Confidential(TASK, [PROMPT]).holds(text)


@pytest.mark.parametrize(
    "text", ["name the possible answers", "no more than 2 words", "be kind to Ada", "the lamp from Oslo", ""]
)
def test_words_in_common_are_not(text: str) -> None:
    assert not Confidential(TASK, [PROMPT]).holds(text)


def test_an_example_in_a_script_without_blanks_is_confidential() -> None:
    splits = Splits(train=(make_example("灯在星期一到达时坏了", None),), val=TASK.splits.val, test=TASK.splits.test)
    known = Confidential(make_task(splits=splits), [])
    assert known.holds("说明:灯在星期一到达")
    assert not known.holds("请简短回答")
