"""Find the order number in a customer's message: `uv run scenarios/order_extraction.py`.

The task is in order_extraction.yaml, the messages are in data/. No key is needed: the embedded model does the
task. The options are those of `crito optimize`: --model NAME for another model, --budget-calls N, --seed N, --json,
--help.
"""

import sys
from pathlib import Path

from crito.cli import app

if __name__ == "__main__":
    app(["optimize", str(Path(__file__).with_suffix(".yaml")), *sys.argv[1:]], prog_name="crito")
