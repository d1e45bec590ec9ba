"""Who came from whom: the candidates of a run as a directed acyclic graph."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx

from crito.records import Candidate


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
