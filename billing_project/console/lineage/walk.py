"""Walk the chain from some facts: everything before them, and everything after them.

One query for each link and direction, whatever the number of facts. Siblings are not followed (the
other events of an event's window are no part of its lineage), but for one kind: a drawdown or an
overage is claimed by an invoice line and earned by a journal entry, and each leads to the other.

A window is rated anew with each change. What was rated before an event was received cannot come of
it, so each window keeps a bound in time (see `pairs.Times`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from billing_project.console.lineage.graph import Edge, Lineage, Node, NodeType, Ref, admit
from billing_project.console.lineage.links import GRANTS, LINKS, Link
from billing_project.console.lineage.nodes import load_nodes
from billing_project.console.lineage.pairs import Pair, most_of

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000  # As pages of every list.
_PLACES = {type_: place for place, type_ in enumerate(NodeType)}
_TWO_SIDED = (NodeType.LEDGER_TRANSACTION, NodeType.OVERAGE)  # Claimed and earned.


def trace(start: Iterable[Ref], *, limit: int = DEFAULT_LIMIT) -> Lineage:
    """Return the lineage of some facts, both ways.

    Args:
        start: Facts that exist, of one kind or several.
        limit: Most facts of one kind; the lowest ids are kept.

    Returns:
        Nodes in the order of the chain, then by id; edges between them.
    """
    walk = _Walk(limit, frozenset(start))
    for link in LINKS:
        walk.after(link)
    walk.start_at(walk.start)
    for link in reversed(LINKS):
        walk.before(link)
    walk.start_at({ref for type_ in _TWO_SIDED for ref in walk.reached[type_]})
    for link in LINKS:
        walk.after(link)
    walk.explain(GRANTS)
    nodes = load_nodes(walk.facts)
    return _lineage(nodes, walk)


@dataclass
class _Walk:
    """The facts reached in the present direction, and what both directions found."""

    limit: int
    start: frozenset[Ref]
    edges: set[Edge] = field(default_factory=set)
    is_truncated: bool = False

    def __post_init__(self) -> None:
        self.facts = set(self.start)
        self.start_at(self.start)

    def start_at(self, refs: Collection[Ref]) -> None:
        """Walk on from these facts, and from no others."""
        self.times: dict[int, datetime] = {}
        self.reached: dict[NodeType, set[Ref]] = defaultdict(set)
        for ref in refs:
            self.reached[ref.type].add(ref)

    def after(self, link: Link) -> None:
        """Follow a link from its source facts to its targets."""
        ids = [ref.pk for ref in self.reached[link.source]]
        pairs = link.after(ids, self._most, self.times) if ids else []
        if link.target == NodeType.USAGE_WINDOW:
            self._bound(min, ((pair.target, pair.at) for pair in pairs))
        self._follow(link, pairs, link.target)

    def before(self, link: Link) -> None:
        """Follow a link from its target facts back to its sources."""
        ids = [ref.pk for ref in self.reached[link.target]]
        pairs = link.before(ids, self._most, self.times) if ids else []
        if link.source == NodeType.USAGE_WINDOW:
            self._bound(max, ((pair.source, pair.at) for pair in pairs))
        self._follow(link, pairs, link.source)

    def explain(self, link: Link) -> None:
        """Add where all facts of a kind come from, and go no further: a drawdown's grant."""
        ids = [ref.pk for ref in self.facts if ref.type == link.target]
        self._follow(link, link.before(ids, self._most, {}) if ids else [], link.source)

    def _bound(
        self,
        choose: Callable[[datetime, datetime], datetime],
        instants: Iterable[tuple[int, datetime | None]],
    ) -> None:
        """Let the first or the last instant bound each window."""
        for window, at in instants:
            if at is not None:
                self.times[window] = choose(self.times.get(window, at), at)

    @property
    def _most(self) -> int:
        """Pairs asked for at once."""
        return most_of(self.limit)

    def _follow(self, link: Link, pairs: list[Pair], side: NodeType) -> None:
        edges = {
            Edge(Ref(link.source, source), Ref(link.target, target), label)
            for source, target, label, _ in pairs
        }
        ends = {edge.target if side == link.target else edge.source for edge in edges}
        known = {ref for ref in self.facts if ref.type == side}
        allowed, is_cut = admit(ends, known, self.limit)
        self.facts |= allowed
        self.reached[side] |= ends & allowed
        self.edges |= {e for e in edges if e.source in self.facts and e.target in self.facts}
        self.is_truncated |= is_cut or len(pairs) >= self._most


def _lineage(nodes: list[Node], walk: _Walk) -> Lineage:
    nodes.sort(key=lambda node: (_PLACES[node.ref.type], node.ref.pk))
    loaded = {node.ref for node in nodes}
    edges = [edge for edge in walk.edges if edge.source in loaded and edge.target in loaded]
    edges.sort(key=_place)
    return Lineage(tuple(nodes), tuple(edges), walk.is_truncated)


def _place(edge: Edge) -> tuple[int, int, NodeType, int, str]:
    """Order edges along the chain; alike, as their ends are named."""
    source, target, label = edge
    return _PLACES[source.type], source.pk, target.type, target.pk, label
