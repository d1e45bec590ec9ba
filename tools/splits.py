"""Examples into train, val and test: stratified, decided by a seed, with nothing in two splits."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from crito.errors import BadInput
from crito.task import Example, Splits

SHARES: Mapping[str, float] = MappingProxyType({"train": 0.4, "val": 0.3, "test": 0.3})
MINIMUM = 10
"""Fewest examples in all three splits together."""
MOST_STRATA = 20
"""Up to so many different answers are labels, spread evenly over the splits."""


def join(
    train: Sequence[Example],
    val: Sequence[Example] = (),
    test: Sequence[Example] = (),
    *,
    shares: Mapping[str, float] = SHARES,
    seed: int = 0,
    places: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Splits:
    """Put given splits together; a missing ``val`` or ``test`` is carved out of ``train`` in proportion to its share.

    Given splits keep their members but not their order: a file sorted by label would make every block of it lopsided.
    Every prefix of a split holds the labels in about the proportions of the whole, so it is a fair sample too.

    Args:
        train: Examples to train on, and to carve the missing splits out of.
        val: Examples to choose by.
        test: Examples for the verdict.
        shares: ``train``, ``val`` and ``test`` as shares that add up to 1, or as numbers of examples.
        seed: Seed of the shuffle.
        places: For each split where its examples stand, by their ids, for errors.

    Raises:
        BadInput: There are too few examples, the shares cannot be met, or an input stands in two splits.
    """
    given = {"train": train, "val": val, "test": test}
    _check_number(sum(map(len, given.values())))
    _refuse_overlap(given, places)
    parts = {name: interleaved(examples, seed) for name, examples in given.items()}
    missing = [name for name in ("val", "test") if not given[name]]
    if missing:
        rest = parts["train"]
        sizes = _sizes(len(rest), {name: shares[name] for name in ("train", *missing)})
        for name, size in sizes.items():
            parts[name], rest = rest[:size], rest[size:]
    return Splits(train=tuple(parts["train"]), val=tuple(parts["val"]), test=tuple(parts["test"]))


def _check_number(number: int) -> None:
    if number < MINIMUM:
        counted = f"only {number} example{'' if number == 1 else 's'}"
        raise BadInput(
            f"{counted}: Crito needs at least {MINIMUM} to split them and tell a gain from luck; "
            "add rows, or use `crito evaluate`, which works with any number"
        )


def _refuse_overlap(given: Mapping[str, Sequence[Example]], places: Mapping[str, Mapping[str, str]]) -> None:
    home: dict[str, str] = {}
    for name, examples in given.items():
        for example in examples:
            other = home.setdefault(example.id, name)
            if other != name:
                shown = "; ".join(f"{key}: {value[:60]!r}" for key, value in example.inputs.items())
                one, two = (
                    f"in {split} ({places[split][example.id]})" if split in places else f"in {split}"
                    for split in (other, name)
                )
                raise BadInput(f"the same row is {one} and {two} ({shown}); remove one of the two")


def _sizes(number: int, shares: Mapping[str, float]) -> dict[str, int]:
    total = sum(shares.values())
    if any(share > 1 for share in shares.values()):
        if any(share != int(share) or share < 1 for share in shares.values()):
            raise BadInput("split: mixes shares and numbers of examples; write all three as shares or as numbers")
        sizes = {name: int(share) for name, share in shares.items()}
        if sum(sizes.values()) > number:
            asked = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise BadInput(f"split: asks for {sum(sizes.values())} examples ({asked}), there are {number}; lower it")
        return sizes
    if set(shares) == set(SHARES) and abs(total - 1) > 1e-6:
        raise BadInput(f"split: the shares add up to {total:g}; they must add up to 1")
    # Everybody gets at least one; train takes what rounding leaves.
    sizes = {name: max(1, round(number * share / total)) for name, share in shares.items()}
    sizes["train"] = number - sum(size for name, size in sizes.items() if name != "train")
    if sizes["train"] < 1:
        raise BadInput(f"split: leaves nothing for train out of {number} examples; add rows or lower val and test")
    return sizes


def interleaved(examples: Sequence[Example], seed: int) -> list[Example]:
    """Shuffled, with the members of every label at even distances, so that every block of a race has all labels."""
    shuffled = sorted(examples, key=lambda example: example.id)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a split, not a secret
    strata: dict[str | None, list[Example]] = defaultdict(list)
    for example in shuffled:
        strata[example.expected].append(example)
    if len(strata) > MOST_STRATA:
        return shuffled
    position = {
        example.id: (index + 0.5) / len(stratum) for stratum in strata.values() for index, example in enumerate(stratum)
    }
    return sorted(shuffled, key=lambda example: position[example.id])
