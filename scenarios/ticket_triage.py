"""Route a support message to one of four teams: `uv run scenarios/ticket_triage.py`.

The task is in ticket_triage.yaml, the messages are in data/. No key is needed: the embedded model does the
task. The options are those of `crito optimize`: --model NAME for another model, --budget-calls N, --seed N, --json,
--help.
"""

import sys
from pathlib import Path

from crito.cli import app

if __name__ == "__main__":
    app(["optimize", str(Path(__file__).with_suffix(".yaml")), *sys.argv[1:]], prog_name="crito")
