"""Who came from whom: the candidates of a run as a directed acyclic graph, which other programs can read."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx

from crito.records import Candidate

_PLAIN = frozenset(" .,:+-_()")
"""What may stand as it is between the quotes of a Mermaid label, besides letters and digits."""


def lineage(candidates: Iterable[Candidate]) -> nx.DiGraph[str]:
    """Graph with an edge from each parent to its child; parents that are not among the candidates are left out."""
    known = {candidate.id: candidate for candidate in candidates}
    graph: nx.DiGraph[str] = nx.DiGraph()
    for candidate in known.values():
        graph.add_node(candidate.id, operator=candidate.operator, round=candidate.round, author=candidate.author)
        graph.add_edges_from((parent, candidate.id) for parent in candidate.parents if parent in known)
    return graph


def chain(graph: nx.DiGraph[str], candidate: str) -> tuple[str, ...]:
    """The candidate's line of first parents, from the root to itself."""
    line = [candidate]
    while parents := list(graph.predecessors(line[-1])):
        line.append(parents[0])
    return tuple(reversed(line))


def common_ancestor(graph: nx.DiGraph[str], a: str, b: str) -> str | None:
    """The lowest common ancestor of two candidates, which is one of them where it is the other's ancestor.

    Where merges leave several, the youngest by round, then by id, so that a resumed run finds the same one. None when
    they have none, or one of them is not in the graph.
    """
    if a not in graph or b not in graph:
        return None
    shared = (nx.ancestors(graph, a) | {a}) & (nx.ancestors(graph, b) | {b})
    lowest = [node for node in shared if shared.isdisjoint(graph.successors(node))]
    return max(lowest, key=lambda node: (graph.nodes[node]["round"], node), default=None)


def graphml(graph: nx.DiGraph[str]) -> str:
    """The graph as GraphML, for Gephi, yEd, Cytoscape or networkx itself; all attributes of its nodes are in it."""
    return "\n".join(["<?xml version='1.0' encoding='utf-8'?>", *nx.generate_graphml(graph), ""])


def mermaid(graph: nx.DiGraph[str]) -> str:
    """The graph as a Mermaid flowchart, which Markdown viewers draw.

    A node shows its id, operator, author and round, and, where the graph has them, its ``fate`` and ``val`` score.
    """
    lines = ["flowchart TD"]
    for node, known in graph.nodes.items():
        came = [known["fate"].replace("_", " ")] if known.get("fate") else []
        came += [f"val {known['val']:.2f}"] if "val" in known else []
        made = f"{known['operator']} by {known['author']}, round {known['round']}"
        shown = "<br/>".join(_quoted(text) for text in (node, made, ", ".join(came)) if text)
        lines.append(f'    c{node}["{shown}"]')
    lines += [f"    c{parent} --> c{child}" for parent, child in graph.edges]
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """A text in which whatever could end a label, or be read as markup, is an entity."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in text)
