import base64
from pathlib import Path

import numpy as np
import pytest
from langgraph.store.memory import InMemoryStore

from crito.memory.lesson_store import LessonStore
from crito.memory.lessons import lessons
from crito.memory.nearness import Nearness, nearness
from crito.memory.recipe import Recipe
from crito.tools.database import Database
from crito.tools.embedder import resolve_embedder
from tests.builders import make_ledger, rows_of
from tests.stub_provider import StubProvider
from tests.unit.test_lessons import observed

QUERY = "When was it?"
KNOWN = lessons(
    [
        observed(text="Give the date."),
        observed(text="Say less."),
        observed(text="Be kind."),
        observed(text="Show examples.", kind="recipe", recipe=Recipe(instructions="kept", demos=4)),
    ]
)


def vector(text: str) -> list[float]:
    return {QUERY: [2.0, 0.0], "Give the date.": [1.0, 0.0], "Say less.": [1.0, 1.0]}.get(text, [0.0, 3.0])


async def near(path: Path, host: InMemoryStore, stub: StubProvider, query: str = QUERY, width: int = 2) -> list[float]:
    """How near each direction is, in the order of their texts; the recipe is left out."""
    database = Database(path / "crito.db")
    embedder = resolve_embedder(f"endpoint/{stub.url}#w{width}")
    found = await Nearness(make_ledger(database), embedder, LessonStore(host)).of(query, KNOWN)
    await database.close()
    by_text = {lesson.latest.text: value for lesson, value in zip(KNOWN, found, strict=True)}
    assert by_text.pop("Show examples.") == 0.0
    return [by_text[text] for text in sorted(by_text)]


async def test_the_nearest_direction_has_one_and_the_farthest_none(tmp_path: Path) -> None:
    async with StubProvider(vector=vector) as stub:
        assert await near(tmp_path, InMemoryStore(), stub) == pytest.approx([0.0, 1.0, 0.5**0.5])


async def test_a_direction_is_asked_about_once_and_a_recipe_never(tmp_path: Path) -> None:
    host = InMemoryStore()
    async with StubProvider(vector=vector) as stub:
        first = await near(tmp_path, host, stub)
        assert await near(tmp_path, host, stub) == first
        await near(tmp_path, host, stub, "Another task.")
    asked = [sorted(body["input"]) for body in stub.bodies]
    assert asked == [[QUERY], ["Be kind.", "Give the date.", "Say less."], ["Another task."]]


async def test_its_calls_are_on_the_bill_of_memory(tmp_path: Path) -> None:
    async with StubProvider(vector=vector) as stub:
        await near(tmp_path, InMemoryStore(), stub)
    database = Database(tmp_path / "crito.db")
    assert rows_of(database, "role", "status", "tokens_in") == [("memory", "ok", 3), ("memory", "ok", 7)]
    await database.close()


async def test_another_model_or_a_vector_of_another_length_is_asked_for_anew(tmp_path: Path) -> None:
    host, sizes = InMemoryStore(), [2]

    def sized(text: str) -> list[float]:
        return [*vector(text), 0.0, 0.0][: sizes[0]]

    async with StubProvider(vector=sized) as stub:
        await near(tmp_path, host, stub)
        await near(tmp_path, host, stub, width=3)
        assert stub.requests == 4
        sizes[0] = 3
        (tmp_path / "crito.db").unlink()  # else the first answers come from there
        await near(tmp_path, host, stub)
    assert stub.requests == 6
    assert len(stub.bodies[-1]["input"]) == 3


@pytest.mark.parametrize("damaged", [np.array([np.nan, 1.0], dtype="<f4").tobytes(), b""])
async def test_a_damaged_vector_is_asked_for_anew(tmp_path: Path, damaged: bytes) -> None:
    host = InMemoryStore()
    async with StubProvider(vector=vector) as stub:
        whole = await near(tmp_path, host, stub)
        (item, *_) = await host.asearch(("crito", "vectors"))
        text = base64.b64encode(damaged).decode() or "?" * len(item.value["vector"])
        await host.aput(item.namespace, item.key, {**item.value, "vector": text})
        assert await near(tmp_path, host, stub) == whole


async def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crito.memory.nearness._BATCH", 2)
    host, broken = InMemoryStore(), {"Be kind."}
    async with StubProvider(vector=lambda text: [] if text in broken else vector(text)) as stub:
        with pytest.raises(Exception, match="no vector"):
            await near(tmp_path, host, stub)
        before = stub.requests
        broken.clear()
        await near(tmp_path, host, stub)
    assert stub.requests == before + 1


async def test_without_directions_nobody_is_asked(tmp_path: Path) -> None:
    database = Database(tmp_path / "crito.db")
    embedder = resolve_embedder("endpoint/http://127.0.0.1:9#nobody")
    asked = Nearness(make_ledger(database), embedder, LessonStore(InMemoryStore()))
    assert (await asked.of(QUERY, [lesson for lesson in KNOWN if lesson.latest.recipe])).tolist() == [0.0]
    await database.close()


def test_vectors_without_a_direction_or_all_alike_say_nothing() -> None:
    query = np.array([1.0, 0.0], dtype=np.float32)
    assert nearness(query, np.zeros((2, 2), dtype=np.float32)).tolist() == [0.0, 0.0]
    assert nearness(query, np.ones((3, 2), dtype=np.float32)).tolist() == [0.0, 0.0, 0.0]
