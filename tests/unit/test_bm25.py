import math

import pytest

from crito.memory.bm25 import Bm25, words_of


def test_the_score_is_okapis() -> None:
    # Two of three texts hold the word; the mean length is 2, and k1 = 1.2, b = .75.
    index = Bm25(["cat", "cat cat dog", "bird bird"])
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    short = idf * 1 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 1 / 2))
    long = idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2))
    assert index.scores("CAT!").tolist() == pytest.approx([short, long, 0.0])


def test_words_that_nobody_has_and_repeated_ones_add_nothing() -> None:
    index = Bm25(["cat", "dog"])
    assert index.scores("cat cat unicorn").tolist() == index.scores("cat").tolist()
    assert index.scores("unicorn").tolist() == [0.0, 0.0]


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_texts_without_words_fit_nothing(texts: list[str]) -> None:
    assert Bm25(texts).scores("cat").tolist() == [0.0] * len(texts)


def test_scripts_without_blanks_are_read_by_the_character() -> None:
    assert words_of("Ab 灯は3つ") == ["ab", "灯", "は", "3", "つ"]
