"""A bench as a plot: held-out score with its interval against the tokens of a search, one point per preset."""

from __future__ import annotations

from pathlib import Path

from crito.bench_figures import Figures
from crito.errors import BadInput


def plot(found: Figures, path: Path) -> None:
    """Write the plot as one HTML file that needs no network.

    Raises:
        BadInput: plotly is not installed.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise BadInput('no plot was drawn: plotly is missing; install it with: pip install "crito[plot]"') from error
    drawn = go.Figure(
        [
            go.Scatter(
                name=s.preset,
                x=[s.tokens],
                y=[s.score],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [s.interval[1] - s.score],
                    "arrayminus": [s.score - s.interval[0]],
                },
                text=[s.preset],
                mode="markers+text",
                textposition="middle right",
            )
            for s in found.by_preset
        ]
    )
    drawn.update_layout(
        title="Held-out score against what the search took",
        xaxis_title="tokens of one search, in and out (mean over runs)",
        yaxis_title="held-out score (mean over tasks, 95 % interval)",
        showlegend=False,
        template="simple_white",
    )
    drawn.write_html(path, include_plotlyjs=True)
