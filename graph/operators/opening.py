"""The opening: baselines and a spread of candidates around the seed, raced before anything is planned."""

from __future__ import annotations

from crito.graph.deps import Deps
from crito.graph.operators import demonstrations, recall, spread, strategy
from crito.graph.operators.assignment import Assignment
from crito.prompt import Prompt
from crito.records import Candidate, candidate_id


async def propose(deps: Deps, assignment: Assignment) -> list[Candidate]:
    """The null prompt, chain of thought where there is room for it, what earlier runs advise, a spread around the seed.

    Advice takes at most half of the places, so that bad advice costs no more than that.

    Raises:
        BudgetExhausted: Harvesting reasoning does not fit into the budget.
    """
    seed = assignment.parent
    baselines = [*null(seed), *strategy.chain_of_thought(seed, deps.task)][: assignment.count]
    room = assignment.count - len(baselines)
    demos = await demonstrations.harvest(deps, seed) if room and deps.preset.demos else []
    known = {candidate.id for candidate in baselines}
    new = [c for c in recall.advised(deps, seed, assignment.recalled, demos) if c.id not in known]
    advised = new[: room // 2]
    known |= {candidate.id for candidate in advised}
    others = [candidate for candidate in spread.around(deps, seed, demos, room) if candidate.id not in known]
    return [*baselines, *advised, *others[: room - len(advised)]]


def null(seed: Candidate) -> list[Candidate]:
    """The null prompt: the bare input. What it reaches owes nothing to the instructions."""
    prompts = {name: Prompt(template=prompt.template) for name, prompt in seed.prompts.items()}
    if any(prompt.frozen for prompt in seed.prompts.values()) or candidate_id(prompts) == seed.id:
        return []
    bare = Candidate(id=candidate_id(prompts), prompts=prompts, parents=(seed.id,), operator="null")
    patch = seed.main.diff(bare.main).model_copy(update={"rationale": "the input alone, as a baseline"})
    return [bare.model_copy(update={"patch": patch, "hypothesis": patch.rationale})]
