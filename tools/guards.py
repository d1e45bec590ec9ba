"""Screens a candidate by code before it costs anything; the reason for a rejection is kept and shown."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from crito.errors import PatchRejected
from crito.prompt import Demo, Prompt, placeholders
from crito.records import Candidate
from crito.task import Example, Task, example_id
from crito.tools.duplicates import Tried
from crito.tools.passages import places, sentences, texts

_INPUT_RUN, _ANSWER_RUN, _ANSWERS_FOUND = 8, 3, 2  # tokens, tokens, answers
_SHORT_ANSWER = 4  # characters: shorter answers turn up in any text by chance

_CHATTER = re.compile(
    r"""\b(?:here\ is|here's|here\ are|below\ is)\ (?:the|an?|my|your)\ (?:[\w-]+\ ){0,3}
            (?:prompt|instructions?|version|section|rules?|patch)\b
      | \b(?:improved|revised|optimi[sz]ed|updated|rewritten|new)\ (?:prompt|instructions?|version)\s*:
      | \bi(?:\ have|'ve)\ (?:improved|revised|rewritten|updated|optimi[sz]ed|changed|made)\b
      | \bi\ hope\ this\ helps\b | \blet\ me\ know\ if\b
      | ^\W*as\ an\ ai\b
      | ^(?:sure|certainly|of\ course|absolutely|okay)[!,.]
      | </?(?:improved_?|new_?|revised_?)?(?:prompt|instructions?|section|patch|rewrite)>""",
    re.IGNORECASE | re.VERBOSE,
)
_OVERRIDE = re.compile(
    r"""\b(?:ignore|disregard|forget|override|bypass)\b
            [^.!?]{0,30}\b(?:previous|prior|above|earlier|preceding|system|original)\b
            [^.!?]{0,30}\b(?:instructions?|prompts?|rules?|messages?|directions?|guidelines?)\b
      | \b(?:ignore|disregard|forget)\ (?:all\ )?(?:of\ )?your\ (?:instructions|rules|prompt|guidelines)\b
      | \bdo\ not\ follow\ (?:the|your|any)\ (?:previous|prior|above|earlier|system|original)\b
      | \b(?:reveal|print|repeat|show)\ (?:the|your)\ (?:system\ )?(?:prompt|instructions)\b
      | \bignore\ (?:all|everything)\ (?:of\ )?(?:the\ )?(?:above|before)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_FAULTS = ((_CHATTER, "talks about the prompt instead of being one"), (_OVERRIDE, "overrides other instructions"))
_BROKEN_END = re.compile(
    r"(?:,|;|…|\.\.\.|(?<=\w)-|\b(?:and|or|but|nor|because|although|while|than|unless|the|a|an|of|with|such as))\s*$"
)


def screen(
    candidate: Candidate,
    parent: Candidate | None,
    task: Task,
    known: Tried,
    prompt_tokens: Callable[[Prompt], int],
) -> str | None:
    """Why the candidate must not be tried, in one line; None when nothing speaks against it.

    What the parent (the task's seed where there is none) already said is never held against the candidate: it is the
    user's, or was screened before.

    Args:
        candidate: What is to be tried.
        parent: What it was made from.
        task: Gives the inputs, the seed, the token cap, and the data that must not be copied.
        known: Everything tried so far; nothing is tried twice.
        prompt_tokens: Tokens of a rendered prompt without its input.
    """
    return next(_objections(candidate, parent, task, known, prompt_tokens), None)


def _objections(
    candidate: Candidate,
    parent: Candidate | None,
    task: Task,
    known: Tried,
    prompt_tokens: Callable[[Prompt], int],
) -> Iterator[str]:
    before = parent.prompts if parent else task.prompts
    if set(candidate.prompts) != set(before):
        yield f"its modules are {', '.join(candidate.prompts)}; they must stay {', '.join(before)}"
        return
    for name, prompt in candidate.prompts.items():
        yield from _placeholder_objections(prompt, task, name)
        yield from _frozen_objections(prompt, before[name])
        yield from _text_objections(prompt, before[name])
        yield from _length_objections(prompt, task, prompt_tokens)
        yield from _demo_objections(prompt.demos, task)
        yield from _copy_objections(prompt, task)
    yield from filter(None, (known.objection(candidate), Tried([parent] if parent else []).objection(candidate)))


def _placeholder_objections(prompt: Prompt, task: Task, module: str) -> Iterator[str]:
    # Of several modules each takes its own part of the inputs or another module's output, as the seed says.
    wanted = set(task.inputs) if len(task.prompts) == 1 else set(task.prompts[module].fields)
    if set(prompt.fields) != wanted:
        yield f"the template's placeholders are {_names(prompt.fields)}; they must be {_names(sorted(wanted))}"
    for section in prompt.sections:
        held = sorted(wanted.intersection(placeholders(section.text)))
        if held:
            yield f"section {section.name!r} has {_names(held)}, which the template alone fills in"
    for index, demo in enumerate(prompt.demos):
        missing = set(prompt.fields) - set(demo.inputs)
        if missing:
            yield f"demos[{index}] has no input {_names(sorted(missing))}"


def _frozen_objections(prompt: Prompt, before: Prompt) -> Iterator[str]:
    if not before.frozen:
        return
    try:
        before.apply(before.diff(prompt))  # a patch that would lead here keeps every frozen mark, or is refused
    except PatchRejected as error:
        yield str(error)


def _text_objections(prompt: Prompt, before: Prompt) -> Iterator[str]:
    if before.instructions().strip() and not prompt.instructions().strip() and not prompt.demos:
        yield "neither instructions nor demonstrations are left"
    said = texts(before)
    old_sentences = set(sentences(said))
    for place, text in places(prompt):
        fresh = [sentence for sentence in sentences([text]) if sentence not in old_sentences]
        if fresh:
            yield from _written_objections(place, text, fresh, "\n".join(said))


def _written_objections(section: str, text: str, fresh: Sequence[str], said: str) -> Iterator[str]:
    if text.lstrip().startswith("```") and text.rstrip().endswith("```"):
        yield f"section {section!r} is wrapped in a code fence"
    for sentence in fresh:
        for pattern, fault in _FAULTS:
            match = pattern.search(sentence)
            if match and match[0].casefold() not in said.casefold():
                yield f"section {section!r} {fault}: {match[0].strip()!r}"
    unclosed = _unclosed(text)
    if unclosed and unclosed not in _unclosed_marks(said):
        yield f"section {section!r} looks cut off: {unclosed} is not closed"
    end = _BROKEN_END.search(text)
    if end and sentences([text])[-1] in fresh:
        yield f"section {section!r} looks cut off: it ends with {text[-30:].strip()!r}"


def _length_objections(prompt: Prompt, task: Task, prompt_tokens: Callable[[Prompt], int]) -> Iterator[str]:
    if task.max_prompt_tokens is not None:
        tokens = prompt_tokens(prompt)
        if tokens > task.max_prompt_tokens:
            yield f"the prompt takes {tokens} tokens; the cap is {task.max_prompt_tokens}"


def _demo_objections(demos: Iterable[Demo], task: Task) -> Iterator[str]:
    splits = {split: {e.id for e in getattr(task.splits, split)} for split in ("val", "test")}
    for index, demo in enumerate(demos):
        ids = {demo.example_id, example_id(demo.inputs)}
        for split, held_out in splits.items():
            if ids & held_out:
                yield f"demos[{index}] is an example of the {split} split; only train examples may be shown"


def _copy_objections(prompt: Prompt, task: Task) -> Iterator[str]:
    """Copied data in the instructions (algorithm of the copy guard: longest common token run, or answers verbatim)."""
    seed = [text for p in task.prompts.values() for text in texts(p)]
    own = [_tokens(text) for text in (*seed, task.description, *task.requirements, *task.labels)]
    written = [_tokens(text) for text in texts(prompt)]
    if all(tokens in own for tokens in written):
        return
    examples = (*task.splits.train, *task.splits.val)
    runs = _fresh_runs(written, own, _INPUT_RUN)
    for example in examples:
        copied = next((run for value in example.inputs.values() for run in _shared(runs, _tokens(value))), None)
        if copied:
            yield f"the instructions copy the input of example {example.id}: {copied!r}"
    yield from _answer_objections(written, own, _leakable_answers(examples, task))


def _answer_objections(written: list[list[str]], own: list[list[str]], answers: dict[str, str]) -> Iterator[str]:
    tokens = {example: _tokens(answer) for example, answer in answers.items()}
    # Half the answer, so that a common phrase out of a long one is no copy; never more than for an input.
    length = {example: min(_INPUT_RUN, max(_ANSWER_RUN, (len(t) + 1) // 2)) for example, t in tokens.items()}
    runs = {n: _fresh_runs(written, own, n) for n in {*length.values(), *map(len, tokens.values())} - {0}}
    for example, answer in tokens.items():
        copied = next(iter(_shared(runs[length[example]], answer)), None)
        if copied:
            yield f"the instructions copy the answer of example {example}: {copied!r}"
    found = [answers[example] for example, answer in tokens.items() if answer and " ".join(answer) in runs[len(answer)]]
    if len(found) >= _ANSWERS_FOUND:
        yield f"the instructions hold the answers of {len(found)} examples, such as {found[0]!r} and {found[1]!r}"


def _leakable_answers(examples: Iterable[Example], task: Task) -> dict[str, str]:
    """Answers by example id that give something away: no labels, none that several examples share, none too short."""
    labels = {label.casefold() for label in task.labels}
    answers = {e.id: e.expected.strip() for e in examples if e.expected}
    uses = Counter(answer.casefold() for answer in answers.values())
    return {
        example: answer
        for example, answer in answers.items()
        if len(answer) >= _SHORT_ANSWER and answer.casefold() not in labels and uses[answer.casefold()] == 1
    }


def _unclosed(text: str) -> str | None:
    return next(iter(_unclosed_marks(text)), None)


def _unclosed_marks(text: str) -> list[str]:
    pairs = [f"{opened!r}" for opened, closed in ("()", "[]", "{}") if text.count(opened) > text.count(closed)]
    return ["'```'", *pairs] if text.count("```") % 2 else pairs


def _fresh_runs(written: list[list[str]], own: list[list[str]], length: int) -> set[str]:
    """Runs of that many tokens which the candidate has and the user's own texts have not."""
    return _runs(written, length) - _runs(own, length)


def _runs(texts: Iterable[list[str]], length: int) -> set[str]:
    return {" ".join(tokens[i : i + length]) for tokens in texts for i in range(len(tokens) - length + 1)}


def _shared(runs: set[str], tokens: list[str]) -> list[str]:
    if not runs:
        return []
    length = len(next(iter(runs)).split())
    return [run for run in _runs([tokens], length) if run in runs]


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _names(fields: Iterable[str]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields) or "none"
