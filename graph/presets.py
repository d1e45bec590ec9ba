"""The presets: ours, the null, and published methods as settings of the same parts.

A published method keeps its operators, archive, schedule and counts. What it does not keep is said in ``kept``: every
preset selects on validation examples, shows verified answers only, and opens the test split once, for the verdict.
Temperatures are those of each method's own code; MARS's and GEPA's (with GPT-4.1 mini) those of its experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crito.config import suggestion
from crito.errors import BadInput
from crito.graph.ablation import without
from crito.graph.operators.catalogue import OPERATORS
from crito.graph.preset import Preset, Stage
from crito.graph.preset_file import SUFFIXES, read_preset
from crito.task import Task

_OPENING = Stage(name="opening", operators=("opening",), share=0.35, count=20)
_COMPRESS = Stage(name="compress", operators=("compress",), share=0.1, rounds=4, accept="cheaper")
_SEARCH = (
    "critique_synthesis",
    "demonstrations",
    "spread",
    "sweep",
    "socratic",
    "recombine",
    "induce",
    "restyle",
    "history",
    "merge",
    "format",
    "strategy",
    "verbalizer",
    "restart",
)
_ON_TEST = "selects on validation examples where the published code scores and stops on the test set"
_POPULATED = "nine restyled prompts join the seed, in place of a population written by hand"
_UNMEASURED = "measures what it ships, and shows no example whose answer was not verified"

DEFAULT = Preset(
    name="default",
    about="Opening around the seed, search by a bandit over all operators, compression.",
    stages=(
        _OPENING,
        Stage(name="search", operators=_SEARCH, steps=3, count=2, rounds=200, patience=3, persistence=0.3, reserve=0.1),
        _COMPRESS,
    ),
    parents="elite_pareto",
    schedule="affordable",
    gate=False,
    finalists=3,
)
LEAN = Preset(
    name="lean",
    about="Demonstrations, answer rules and one round of critique, for few calls.",
    stages=(
        _OPENING.model_copy(update={"share": 0.6, "schedule": "halving"}),
        Stage(name="search", operators=("critique_synthesis", "demonstrations"), steps=2),
        _COMPRESS.model_copy(update={"rounds": 1}),
    ),
    parents="elite_pareto",
    schedule="affordable",
    gate=False,
    calls=300,
)
RANDOM = Preset(
    name="random",
    source="Strings from the Library of Babel (2024)",
    about="Random words in place of instructions: what selection alone is worth. Every method must beat it.",
    stages=(Stage(name="search", operators=("babble",), share=1.0),),
    gate=False,
)
_STYLES = Stage(name="mutate", operators=("restyle",), steps=4, share=1.0, count=5)
_CRITIQUE = Stage(name="critique", operators=("critique_synthesis",), share=1.0, count=1)
PROMPTWIZARD = Preset(
    name="promptwizard",
    source="PromptWizard (2024)",
    about="Three times twenty thinking styles and a critique of the best, then three edits of instruction or examples.",
    kept=f"{_UNMEASURED}; minibatches of 8 in place of at most three draws; styles come from twelve; no reasoning "
    "chains, expert persona or keywords at the end",
    stages=(
        *(_STYLES, _CRITIQUE) * 3,
        Stage(
            name="refine", operators=("critique_synthesis", "demonstrations"), share=1.0, count=1, rounds=3, patience=3
        ),
    ),
    parents="incumbent",
    schedule="minibatch",
    gate=False,
    planner="random",
    agents=True,
)
MARS = Preset(
    name="mars",
    source="MARS (2025)",
    about="A teacher questions, a critic judges the questions, a student rewrites; ten rounds at most.",
    kept=f"{_ON_TEST}; the teacher sees the failures; a worse prompt is not carried on; no plan of subgoals",
    stages=(Stage(name="dialogue", operators=("socratic",), count=3, rounds=10, patience=10, share=1.0),),
    parents="incumbent",
    schedule="full",
    gate=False,
    temperature=0.6,
    agents=True,
)
OPRO = Preset(
    name="opro",
    source="Large Language Models as Optimizers (2023)",
    about="Eight instructions a round from the trajectory of the twenty best with their scores.",
    stages=(
        Stage(
            name="search",
            operators=("history",),
            steps=8,
            count=1,
            rounds=200,
            patience=200,
            share=1.0,
        ),
    ),
    parents="top_k",
    pool=20,
    schedule="full",
    gate=False,
    temperature=1.0,
    agents=True,
)
APE = Preset(
    name="ape",
    source="Large Language Models Are Human-Level Prompt Engineers (2022)",
    about="Instructions induced from examples in 12 draws of 4, filtered on growing subsets.",
    kept="48 draws in place of 250",
    stages=(Stage(name="induce", operators=("induce",), steps=12, count=4, share=1.0),),
    gate=False,
    temperature=0.9,
    agents=True,
)
PROTEGI = Preset(
    name="protegi",
    source="Automatic Prompt Optimization with Gradient Descent and Beam Search (2023)",
    about="Textual gradients and paraphrases over a beam of four, six rounds, successive halving.",
    kept="right examples are shown beside the wrong ones, and a step's gradients are also followed all at once; a step "
    "draws gradients or paraphrases, not both; of its bandits halving alone",
    stages=(
        Stage(
            name="search",
            operators=("critique_synthesis", "restyle"),
            steps=4,
            count=8,
            rounds=6,
            patience=6,
            share=1.0,
        ),
    ),
    parents="beam",
    pool=4,
    gate=False,
    planner="random",
    temperature=0.7,
    agents=True,
)
_POPULATION = Stage(name="population", operators=("restyle",), steps=3, share=1.0, count=3)
EVOPROMPT_GA = Preset(
    name="evoprompt-ga",
    source="EvoPrompt, genetic (2023)",
    about="A population of ten; parents by score, crossover and mutation in one call, all scored in full.",
    kept=_POPULATED,
    stages=(
        _POPULATION,
        Stage(
            name="evolve",
            operators=("recombine",),
            steps=10,
            count=1,
            rounds=10,
            patience=10,
            share=1.0,
        ),
    ),
    parents="population",
    pool=10,
    schedule="full",
    gate=False,
    temperature=0.5,
    agents=True,
)
EVOPROMPT_DE = EVOPROMPT_GA.model_copy(
    update={
        "name": "evoprompt-de",
        "source": "EvoPrompt, differential (2023)",
        "about": "A population of ten; a child changes only what tells its member from another one, and has the "
        "member's place if it is better; all scored in full.",
        "kept": f"a member is compared with one other, in place of two others and the best; {_POPULATED}",
        "stages": (
            _POPULATION,
            Stage(
                name="evolve",
                operators=("differential",),
                steps=10,
                count=1,
                rounds=10,
                patience=10,
                share=1.0,
            ),
        ),
        "parents": "member",
    }
)
CAPO = Preset(
    name="capo",
    source="CAPO: Cost-Aware Prompt Optimization (2025)",
    about="Crossover and new shots over a population of ten, raced in blocks with a price on length.",
    kept="a permutation test in place of the t-test in races, in blocks of 8 and against the best alone; a child is "
    f"crossed or gets new shots, not both; agents answer at temperature 0, where none is published; {_POPULATED}",
    stages=(
        _POPULATION,
        Stage(
            name="evolve",
            operators=("recombine", "demonstrations"),
            steps=4,
            count=1,
            rounds=20,
            patience=20,
            share=1.0,
        ),
    ),
    parents="population",
    pool=10,
    schedule="blocks",
    length_price=0.05,
    gate=False,
    planner="random",
    agents=True,
)
GEPA = Preset(
    name="gepa",
    source="GEPA: Reflective Prompt Evolution (2025)",
    about="Reflection on a few traces of a parent from the instance Pareto front, a gate on them, then full scoring.",
    kept="the gate asks for more mended failures than broken successes, in place of a higher sum",
    stages=(
        Stage(
            name="search",
            operators=("critique_synthesis", "merge"),
            count=1,
            rounds=60,
            patience=60,
            share=1.0,
        ),
    ),
    schedule="full",
    temperature=1.0,
    agents=True,
)
_GRACE_UPDATE = Stage(
    name="update",
    operators=("critique_synthesis",),
    count=1,
    rounds=20,
    patience=5,
    share=1.0,
)
_GRACE_COMPRESS = Stage(name="compress", operators=("compress",), count=1, share=1.0, accept="cheaper")
GRACE = Preset(
    name="grace",
    source="GRACE (2025)",
    about="Three right and three wrong examples, one update, accepted only if strictly better; compression when stuck.",
    kept="a compressed prompt must not be inferior, where the published code takes it whatever its score",
    stages=(_GRACE_UPDATE, _GRACE_COMPRESS) * 4,
    parents="incumbent",
    schedule="full",
    gate=False,
    temperature=0.6,
    agents=True,
)
MIPROV2 = Preset(
    name="miprov2",
    source="MIPROv2 (2024)",
    about="Demonstration sets and induced instructions, then TPE over their combinations on minibatches.",
    kept="the user's own validation split in place of 80 % of the training data; minibatches of 8 in place of 35, the "
    "best of each scored in full; template and place of the instructions are combined too",
    stages=(
        Stage(
            name="pool",
            operators=("demonstrations", "induce"),
            steps=2,
            count=6,
            share=1.0,
        ),
        Stage(
            name="trials",
            operators=("sweep",),
            count=8,
            rounds=6,
            patience=6,
            share=1.0,
        ),
    ),
    schedule="minibatch",
    gate=False,
    planner="random",
    temperature=0.5,
    agents=True,
)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        DEFAULT,
        LEAN,
        RANDOM,
        PROMPTWIZARD,
        MARS,
        OPRO,
        APE,
        PROTEGI,
        EVOPROMPT_GA,
        EVOPROMPT_DE,
        CAPO,
        GEPA,
        GRACE,
        MIPROV2,
    )
}


def preset(name: str) -> Preset:
    """The preset of that name, or in that .yaml file; ``default-demos`` is the default without demonstrations.

    Raises:
        BadInput: There is no such preset, or no such part; or the file cannot be read as one.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name.endswith(SUFFIXES):
        return read_preset(Path(name))
    base = max((known for known in PRESETS if name.startswith(f"{known}-")), key=len, default=None)
    if base is not None:
        return without(PRESETS[base], name.removeprefix(f"{base}-"))
    raise BadInput(f"preset: there is no {name!r}{suggestion(name, PRESETS)}")


def check_preset(preset: Preset, task: Task) -> None:
    """Refuse settings that cannot work on a task, before anything is written or paid for.

    Raises:
        BadInput: An operator does not exist, or needs right answers that the training examples do not have; or what
            is switched off would not have been used.
    """
    for name in preset.operators:
        if name not in OPERATORS:
            raise BadInput(f"preset {preset.name}: there is no operator {name!r}{suggestion(name, OPERATORS)}")
    needy = [name for name in preset.operators if OPERATORS[name].answers]
    if not task.answered and needy and (preset.agents or len(needy) == len(preset.operators)):
        raise BadInput(
            f"preset {preset.name}: {', '.join(needy)} works from right answers, and no training example has one; "
            "give answers, or use the default preset"
        )
    if not preset.own_outputs and not task.reasoning:
        raise BadInput(
            f"preset {preset.name}: only tasks with reasoning: true choose between own outputs and given answers; "
            "leave the preset out"
        )
