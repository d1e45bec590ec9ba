"""The opening: baselines and a spread of candidates around the seed, raced before anything is planned."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators import demonstrations, recall, spread, strategy
from crito.graph.operators.assignment import Assignment
from crito.graph.recipes import recipe
from crito.memory.recalled import Recalled
from crito.prompt import Prompt
from crito.records import Candidate, candidate_id


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The null prompt, chain of thought where there is room for it, recipes of earlier runs, a spread around the seed.

    Recipes take at most half of the places, so that bad ones cost no more than that. Proven prompts race before all
    that, in a round of their own. What lost in earlier runs again and again is left out.

    Raises:
        BudgetExhausted: Harvesting reasoning does not fit into the budget.
    """
    seed, recalled, number = assignment.parent, assignment.recalled, assignment.round
    if number == 0 and recalled.leads:
        return recall.proven(deps, recalled)[: assignment.count]
    baselines = [*null(seed, number), *strategy.chain_of_thought(seed, deps.task, number)]
    known = [c for c in baselines if not _refuted(deps, c, recalled)][: assignment.count]
    room = assignment.count - len(known)
    demos = await demonstrations.harvest(deps, seed) if room and deps.preset.demos else []
    advised = recall.followers(deps, seed, recalled, demos, round_number=number)[: room // 2]
    taken = {candidate.id for candidate in advised}
    drawn = spread.around(deps, seed, demos, 2 * room, round_number=number)
    new = [c for c in drawn if c.id not in taken and not _refuted(deps, c, recalled)]
    return [*known, *advised, *new[: room - len(advised)]]


def _refuted(deps: Deps, candidate: Candidate, recalled: Recalled) -> bool:
    return recipe(deps, candidate) in recalled.refuted


def null(seed: Candidate, round_number: int = 0) -> list[Candidate]:
    """The null prompt: the bare input. What it reaches owes nothing to the instructions."""
    prompts = {name: Prompt(template=prompt.template) for name, prompt in seed.prompts.items()}
    if any(prompt.frozen for prompt in seed.prompts.values()) or candidate_id(prompts) == seed.id:
        return []
    bare = Candidate(id=candidate_id(prompts), prompts=prompts, parents=(seed.id,), operator="null", round=round_number)
    patch = seed.main.diff(bare.main).model_copy(update={"rationale": "no instructions, as a baseline"})
    return [bare.model_copy(update={"patch": patch, "hypothesis": patch.rationale})]
