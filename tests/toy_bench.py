"""Folders of toy tasks for a bench, and results as a bench keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crito.bench_cells import CellResult
from crito.calls import Cost
from tests.toy_run import DESCRIPTION, LABELS, rows


def data_folder(folder: Path, *names: str) -> Path:
    """Tasks of 14 training, 13 validation and 13 test rows."""
    for name in names:
        place = folder / "data" / name
        place.mkdir(parents=True)
        spec = {"description": DESCRIPTION, "labels": LABELS, "metric": "label"}
        (place / "task.json").write_text(json.dumps(spec))
        lines = [json.dumps({"input": given, "expected": answer}) for given, answer in rows()]
        for split, part in (("train", lines[:14]), ("val", lines[14:27]), ("test", lines[27:])):
            (place / f"{split}.jsonl").write_text("\n".join(part))
    return folder / "data"


def result(preset: str = "default", task: str = "a", seed: int = 0, **fields: Any) -> CellResult:
    """A cell's result; ``scores`` decide the held-out score unless it is given."""
    scores = fields.pop("scores", {"x": 1.0, "y": 0.0})
    given = {
        "run": "r",
        "decision": "improved",
        "seed_score": 0.1,
        "val_score": 0.6,
        "test_score": sum(scores.values()) / len(scores),
        "prompt_tokens": 50.0,
        "costs": {
            "target": Cost(calls=90, tokens_in=900, tokens_out=90, usd=0.02),
            "critic": Cost(calls=4, tokens_in=40, tokens_out=4, usd=0.01),
            "rewriter": Cost(calls=6, tokens_in=60, tokens_out=6, usd=0.01),
        },
        "seconds": 2.0,
        "stopped": "",
    }
    return CellResult(preset=preset, task=task, seed=seed, scores=scores, **{**given, **fields})
