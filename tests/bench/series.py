"""Six small tasks of our own that are alike in pairs: two extractions, two rewritings, two routings.

Messages are put together from parts by a seed; nothing of them comes from elsewhere.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from crito.config import Memory
from crito.task import Budget, Splits, Task
from crito.tools.task_file import build_task

SIZES = {"train": 40, "val": 30, "test": 60}
_MONTHS = re.findall(r"\w+", "January February March April May June July August September October November December")
_FIRST = re.findall(
    r"\w+", "Ada Bruno Clara David Emma Felix Greta Hugo Ines Jonas Klara Lukas Mira Nils Olga Paul Rosa Simon"
)
_LAST = re.findall(
    r"\w+", "Adler Becker Costa Dietz Engel Fuchs Graf Hahn Ivanov Jansen Keller Lopez Moser Nowak Otto Peters"
)
_THINGS = ("lamp", "kettle", "jacket", "desk", "bicycle", "printer", "camera", "carpet", "mixer", "tent")
_ROUTES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "desk": {
        "refund": ("Please send the money for the {} back", "I want my money back, the {} is broken"),
        "delivery": ("Where is my {}? It should be here by now", "The {} was left at the wrong door"),
        "repair": ("The {} stopped working, can you mend it?", "A part of my {} came off and needs fixing"),
    },
    "mail": {
        "sales": ("What does a {} cost if I buy twenty?", "Do you have the {} in green? I would like to order one"),
        "press": ("I write for a paper and would like to show the {}", "May we print a picture of the new {}?"),
        "jobs": ("I have built a {} before and look for work", "Is there a place for a trainee in the {} team?"),
    },
}

Row = tuple[str, str]


def task(name: str, *, model: str, calls: int, seed: int, memory: Memory = "off") -> Task:
    """One of the tasks, with so many calls for its search and the verdict's on top."""
    description, make, labels = TASKS[name]
    rng = random.Random(name)  # noqa: S311 - data, not secrets
    total, rows = sum(SIZES.values()), dict[str, str]()
    while len(rows) < total:
        given, answer = make(rng)
        rows.setdefault(given, answer)
    built = build_task(
        name=name,
        description=description,
        examples=list(rows.items()),
        split=SIZES,
        model=model,
        labels=list(labels),
        metric="label" if labels else "exact_match",
        seed=seed,
        memory=memory,
    )
    return built.model_copy(update={"budget": _budget(built.splits, calls)})


def _budget(splits: Splits, calls: int) -> Budget:
    verdict = 2 * len(splits.test)
    return Budget(calls=calls + verdict, verdict_share=verdict / (calls + verdict) + 1e-6)


def _room(rng: random.Random) -> Row:
    room = f"{rng.choice('ABCDEF')}{rng.randint(100, 499)}"
    hour, name = f"{rng.randint(8, 17)}:{rng.choice(('00', '15', '30', '45'))}", rng.choice(_FIRST)
    said = (
        f"Hi {name}, we meet at {hour} in room {room}, bring the {rng.choice(_THINGS)}.",
        f"{name} moved the talk to {room}; it starts at {hour}.",
        f"The {rng.choice(_THINGS)} is in {room}, ask {name} for the key before {hour}.",
    )
    return rng.choice(said), room


def _code(rng: random.Random) -> Row:
    code = f"{rng.choice(('KX', 'RT', 'ZN'))}-{rng.randint(1000, 9999)}"
    price, thing = rng.randint(10, 900), rng.choice(_THINGS)
    said = (
        f"My {thing} with the serial {code} cost {price} euros and rattles.",
        f"Serial {code}: the {thing} does not start since {rng.randint(1, 28)} {rng.choice(_MONTHS)}.",
        f"Please check the {thing}, {price} euros, number {code} on its back.",
    )
    return rng.choice(said), code


def _date(rng: random.Random) -> Row:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1990, 2029)
    return f"{day} {_MONTHS[month - 1]} {year}", f"{year}-{month:02}-{day:02}"


def _name(rng: random.Random) -> Row:
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    return f"{first} {last}", f"{last}, {first}"


def _routed(name: str) -> Callable[[random.Random], Row]:
    def make(rng: random.Random) -> Row:
        team = rng.choice(sorted(_ROUTES[name]))
        begun = rng.choice(("Hello, ", "Good day. ", "", f"{rng.choice(_FIRST)} here. "))
        return begun + rng.choice(_ROUTES[name][team]).format(rng.choice(_THINGS)) + ".", team

    return make


TASKS: Mapping[str, tuple[str, Callable[[random.Random], Row], tuple[str, ...]]] = {
    "room": ("Find the room in the message.", _room, ()),
    "serial": ("Find the serial number in the message.", _code, ()),
    "iso_date": ("Write the date as year-month-day in digits.", _date, ()),
    "last_first": ("Write the name with the last name first.", _name, ()),
    "desk": (
        "Which team should answer: refund, delivery or repair?",
        _routed("desk"),
        ("refund", "delivery", "repair"),
    ),
    "mail": ("Which team should answer: sales, press or jobs?", _routed("mail"), ("sales", "press", "jobs")),
}
"""Description, maker of rows, and labels of each task by its name."""
