"""A scripted world, a SIMULATION: hidden requirements that a prompt must state, and a target that obeys them.

The rules of the target, all by hash of the seed, so that every run repeats exactly:

- There are up to 64 requirements. Each is about a topic and asks for an action: "For invoices, quote the year."
- An example is a note that names one to three topics: the requirements that its answer must meet. Topics are dealt
  from a shuffled deck, so that each comes about equally often.
- A text states a requirement when one of its sentences names both topic and action.
- A demonstration states each requirement of its note with probability .3, fixed per demonstration and requirement.
- The target answers right when all requirements of the note are stated by the instructions or the demonstrations;
  with probability .05 per prompt and note it is the other way round.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from crito.prompt import Prompt, Section
from crito.protocols import ModelRequest
from crito.task import Budget, Example, Splits, Task, example_id
from crito.tools.scripted_model import ScriptedModel

DESCRIPTION = "Answer the note with its code."
SHOWN = 0.3
"""Probability that a demonstration states one requirement of its note."""
SLIP = 0.05
"""Probability that an answer is wrong though all is stated, or right though something is missing."""
SIZES = {"train": 96, "val": 96, "test": 48}
_TOPICS = re.findall(
    r"\w+",
    """
    anchors bakeries bicycles blankets bridges candles canals carpets cellars chapels clocks cottages curtains
    diamonds engines feathers ferries fountains gardens glaciers hammers harbours helmets hospitals invoices
    islands jackets kettles ladders lanterns libraries magnets markets meadows mirrors monuments museums needles
    orchards ovens paintings parcels pianos pillows quarries rafts ribbons rivers saddles sculptures shelters
    spices statues telescopes theatres tickets towers trumpets tunnels umbrellas violins volcanoes wagons
    windmills
    """,
)
_VERBS = ("name", "quote", "repeat", "round", "bracket", "capitalise", "abbreviate", "translate")
_OBJECTS = ("year", "unit", "owner", "region", "currency", "supplier", "deadline", "quantity")
_NOTE = re.compile(r"Note \d+: [^.]*\.")
_SENTENCE_END = re.compile(r"[.!?\n;]+")


@dataclass(frozen=True)
class Requirement:
    """What an answer about a topic must do."""

    topic: str
    action: str

    @property
    def sentence(self) -> str:
        """The requirement as a rule of a prompt."""
        return f"For {self.topic}, {self.action}."


class World:
    """Hidden requirements, notes that need some of them, and the target that answers.

    Args:
        requirements: How many, 1 to 64.
        seed: Decides topics, actions, notes and all noise.
        noise: Probability that an agent errs where it could have been right.
        deal: Which notes: worlds that differ in it alone have the same requirements.
    """

    def __init__(self, requirements: int, seed: int = 0, noise: float = 0.2, deal: int = 0) -> None:
        if not 1 <= requirements <= len(_TOPICS):
            raise ValueError(f"requirements: {requirements} are not between 1 and {len(_TOPICS)}")
        rng = random.Random(f"world {seed}")  # noqa: S311 - a simulation
        actions = [f"{verb} the {what}" for verb in _VERBS for what in _OBJECTS]
        topics = rng.sample(_TOPICS, requirements)
        self.requirements = tuple(map(Requirement, topics, rng.sample(actions, requirements)))
        self.actions = tuple(actions)
        self.seed = seed
        self.noise = noise
        self.deal = deal

    def chance(self, *of: object) -> float:
        """A number from 0 to 1 that depends on the seed and on ``of`` alone."""
        digest = hashlib.sha256("\x1f".join(map(str, (self.seed, *of))).encode()).digest()
        return int.from_bytes(digest[:8]) / 2**64

    def needed(self, text: str) -> frozenset[Requirement]:
        """The requirements whose topics a text names."""
        return frozenset(self._by_topic[word] for word in self._topic.findall(text.casefold()))

    def stated(self, text: str) -> frozenset[Requirement]:
        """The requirements that a text states: topic and action in one sentence."""
        sentences = _SENTENCE_END.split(text.casefold())
        return frozenset(r for sentence in sentences for r in self.needed(sentence) if r.action in sentence)

    def known(self, text: str) -> frozenset[Requirement]:
        """The requirements that the target learns from a prompt: those stated, and what the demonstrations show."""
        shown = (r for note in _NOTE.findall(text) for r in self.needed(note) if self._shows(note, r))
        return self.stated(text) | frozenset(shown)

    def known_in(self, request: ModelRequest) -> frozenset[Requirement]:
        """The requirements that the target learns from a request, its question left out."""
        return self.known(_parted(request)[0])

    def answer(self, note: str) -> str:
        """The right answer to a note."""
        return f"{int(self.chance('answer', note) * 9000) + 1000}"

    def target(self) -> ScriptedModel:
        """The model whose prompt is to be improved."""
        return ScriptedModel(self._reply, name="scripted/world")

    def task(self, *, calls: int) -> Task:
        """The task, with so many calls for the search and the verdict's on top."""
        verdict = 2 * SIZES["test"]
        needs = self._needs()
        numbers = itertools.count(self.deal * sum(SIZES.values()))
        splits = {name: tuple(self._example(next(numbers), next(needs)) for _ in range(n)) for name, n in SIZES.items()}
        return Task(
            name=f"world-{len(self.requirements)}",
            description=DESCRIPTION,
            inputs=("note",),
            output="code",
            metric="exact_match",
            splits=Splits(**splits),
            prompts={"main": Prompt(sections=(Section(name="task", body=DESCRIPTION),), template="{note}")},
            model="scripted/world",
            agent_model="scripted/agents",
            budget=Budget(calls=calls + verdict, verdict_share=verdict / (calls + verdict) + 1e-6),
            seed=self.seed,
            memory="off",
        )

    @cached_property
    def _by_topic(self) -> dict[str, Requirement]:
        return {requirement.topic: requirement for requirement in self.requirements}

    @cached_property
    def _topic(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{'|'.join(self._by_topic)})\b")

    def _shows(self, note: str, requirement: Requirement) -> bool:
        return self.chance("demo", note, requirement.topic) < SHOWN

    def _reply(self, request: ModelRequest) -> str:
        prompt, note = _parted(request)
        right = self.needed(note) <= self.known(prompt)
        if self.chance("slip", prompt, note) < SLIP:
            right = not right
        return self.answer(note) if right else self.answer(f"not {note}")

    def _needs(self) -> Iterator[list[Requirement]]:
        rng = random.Random(f"notes {self.seed} {self.deal}".removesuffix(" 0"))  # noqa: S311 - a simulation
        deck: list[Requirement] = []
        while True:
            wanted = min(rng.randint(1, 3), len(self.requirements))
            needs: list[Requirement] = []
            while len(needs) < wanted:
                deck = deck or rng.sample(self.requirements, len(self.requirements))
                drawn = deck.pop()
                if drawn not in needs:
                    needs.append(drawn)
            yield needs

    def _example(self, number: int, needs: list[Requirement]) -> Example:
        note = f"Note {number:04}: {', '.join(r.topic for r in needs)}."
        inputs = {"note": note}
        return Example(id=example_id(inputs), inputs=inputs, expected=self.answer(note))


def found(prompt: Prompt, world: World) -> int:
    """How many requirements a prompt states, by its instructions or its demonstrations."""
    shown = prompt.render(dict.fromkeys(prompt.fields, ""))
    return len(world.known("\n".join(message.content for message in shown)))


def _parted(request: ModelRequest) -> tuple[str, str]:
    """A request's text without its question, and the question: the last note."""
    text = "\n".join(message.content for message in request.messages)
    last = list(_NOTE.finditer(text))[-1]
    return text[: last.start()] + text[last.end() :], last[0]
