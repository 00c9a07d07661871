"""How a run looks as a picture: which steps become one node, where each node stands, and when each step ran."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.workflow.model import GraphNode, Step, StepStatus

MOST_APART = 20
"""So many steps of one task are drawn each for itself; more are one node that counts them."""
MOST_NODES = 60
MOST_BARS = 60
WAITING, UNTOUCHED = "waiting", "did not run"
"""Of a task without steps: while its run may still come to it, and after."""
COLOURS: Mapping[str, str] = {
    StepStatus.FAILED: "#b3261e",
    StepStatus.RUNNING: "#2f5bd0",
    StepStatus.SUCCEEDED: "#1e7b45",
    StepStatus.CACHED: "#1b7474",
    StepStatus.SKIPPED: "#6f6f78",
    StepStatus.OMITTED: "#6f6f78",
    WAITING: "#8a6d1f",
    UNTOUCHED: "#6f6f78",
}
"""Each with a contrast of 4.5 to white, which the labels are written in. The worst state comes first: a node of several steps has that one."""
SYMBOLS: Mapping[str, str] = {
    StepStatus.FAILED: "✕",
    StepStatus.RUNNING: "▶",
    StepStatus.SUCCEEDED: "✓",
    StepStatus.CACHED: "↺",
    StepStatus.SKIPPED: "⤼",
    StepStatus.OMITTED: "–",
    WAITING: "○",
    UNTOUCHED: "○",
}
LABEL_CHARS = 18
WIDTH_PX = 800
"""About how wide the picture is on a screen."""
ASIDE_PX, ABOVE_PX = 90, 30
"""How much of it is left free at each side, above and below, for half a node."""


@dataclass(frozen=True, slots=True)
class Node:
    """Something in the picture. keys: of its steps, none before they begin.   tasks: what it stands for; several only where there are too many to draw."""

    name: str
    label: str
    state: str
    needs: tuple[str, ...]
    keys: tuple[str, ...]
    tasks: tuple[str, ...]


def nodes(graph: Sequence[GraphNode], steps: Sequence[Step]) -> list[Node]:
    """The picture of a definition with what has become of its tasks; `MOST_NODES` at most. Steps of tasks that the definition doesn't have are added."""
    needs = {node.name: node.needs or ((node.inside,) if node.inside else ()) for node in graph}
    labels = {node.name: node.label or node.name for node in graph}
    by_task: dict[str, list[Step]] = {name: [] for name in needs}
    task_of = {step.key: step.task for step in steps}
    for step in steps:
        by_task.setdefault(step.task, []).append(step)
        if step.task not in needs:
            needs[step.task] = (task_of[step.parent],) if task_of.get(step.parent, step.task) != step.task else ()
            labels[step.task] = step.task
    known = {task: tuple(n for n in wanted if n in needs and n != task) for task, wanted in needs.items()}
    if len(known) > MOST_NODES:
        return _merged(known, by_task)
    apart = MOST_APART if sum(len(found) if 1 < len(found) <= MOST_APART else 1 for found in by_task.values()) <= MOST_NODES else 1
    names = {t: [s.key for s in found] if 1 < len(found) <= apart else [t] for t, found in by_task.items()}
    drawn = []
    for task, found in by_task.items():
        before = tuple(name for need in known[task] for name in names[need])
        if 1 < len(found) <= apart:
            drawn += [Node(s.key, s.name, s.status, before, (s.key,), (task,)) for s in found]
        else:
            drawn.append(Node(task, labels[task], _worst(found), before, tuple(s.key for s in found), (task,)))
    return drawn


def _worst(steps: Collection[Step]) -> str:
    states = {step.status for step in steps}
    return next((state for state in COLOURS if state in states), WAITING)


def _merged(needs: Mapping[str, Sequence[str]], by_task: Mapping[str, Sequence[Step]]) -> list[Node]:
    """More tasks than can be drawn: neighbouring columns, all of each, are one node."""
    columns = _columns(needs)
    count = max(columns.values()) + 1
    held: dict[int, list[str]] = {}
    for task, column in columns.items():
        held.setdefault(column * min(count, MOST_NODES) // count, []).append(task)
    drawn: list[Node] = []
    for _, tasks in sorted(held.items()):
        steps = [step for task in tasks for step in by_task[task]]
        name = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks from {tasks[0]}"
        before = (drawn[-1].name,) if drawn else ()
        drawn.append(Node(name, name, _worst(steps), before, tuple(s.key for s in steps), tuple(tasks)))
    return drawn


def _columns(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The longest path to each, by Kahn's order, so that a long chain needs no deep stack and a ring ends."""
    left = {name: len(set(before)) for name, before in needs.items()}
    after: dict[str, list[str]] = {}
    for name, before in needs.items():
        for one in set(before):
            after.setdefault(one, []).append(name)
    columns = dict.fromkeys(needs, 0)
    ready = [name for name, count in left.items() if not count]
    for name in ready:
        for following in after.get(name, ()):
            columns[following] = max(columns[following], columns[name] + 1)
            left[following] -= 1
            if not left[following]:
                ready.append(following)
    return columns


def counted(steps: Sequence[Step]) -> str:
    """How many of them are how far, the worst first: "3 failed · 197 succeeded"."""
    states = Counter(str(step.status) for step in steps)
    return " · ".join(f"{states[state]} {state}" for state in COLOURS if states[state])


def short(text: str, most: int = LABEL_CHARS) -> str:
    """Its beginning and its end, with dots between, if it is longer: names of steps differ at their end."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most - most // 2) :]}"


def height_px(drawn: Sequence[Node]) -> int:
    """How high the picture is."""
    return min(max(160, 70 * rows(drawn) + 60), 640)


def chart(drawn: Sequence[Node], steps: Mapping[str, Step], picked: str = "", *, over: bool = False) -> dict[str, Any]:
    """The graph for ECharts, from left to right; a node's index is its place in `drawn`.

    picked: the name of the node with a frame.   over: whether the run is, so that nothing waits any more.
    """
    columns = _columns({node.name: node.needs for node in drawn})
    members: dict[int, list[Node]] = {}
    for node in drawn:
        members.setdefault(columns[node.name], []).append(node)
    row: dict[str, float] = {}
    for _, found in sorted(members.items()):
        found.sort(key=lambda n: sum(row.get(b, 0.0) for b in n.needs) / (len(n.needs) or 1))
        for place, node in enumerate(found):
            row[node.name] = place - (len(found) - 1) / 2
    wide, narrow = [], []
    for node in drawn:
        own = [steps[key] for key in node.keys if key in steps]
        state = UNTOUCHED if over and node.state == WAITING else node.state
        told, times = (counted(own), f" ×{len(own)}") if len(own) > 1 else (state, "")
        at: dict[str, Any] = {"name": node.name, "x": columns[node.name] * 200, "y": row[node.name] * 70}
        at["itemStyle"] = {"color": COLOURS[state], "borderColor": "#e0a100", "borderWidth": 4 if node.name == picked else 0}
        wide.append(at | {"label": {"formatter": f"{SYMBOLS[state]} {short(node.label)}{times}\n{short(told, 26)}"}})
        narrow.append(at | {"label": {"formatter": f"{SYMBOLS[state]} {short(node.label, 8)}\n{times or short(told, 10)}"}})
    # ECharts spreads what it draws over the whole picture, nodes too: two unseen corners keep the picture's own proportions, or nodes would be flat or square.
    width, half = max(columns.values(), default=0) * 200, max(35.0, *(abs(place) * 70 for place in row.values()), 0.0)
    wide_to_high = (WIDTH_PX - 2 * ASIDE_PX) / (height_px(drawn) - 2 * ABOVE_PX)
    aside = max(0.0, (2 * half * wide_to_high - width) / 2)
    half = max(half, width / wide_to_high / 2)
    corners = ((-aside, -half), (width + aside, half))
    edges = [{"name": " " * (n + 1), "x": x, "y": y, "symbolSize": 0, "label": {"show": False}, "silent": True} for n, (x, y) in enumerate(corners)]
    return {
        "animation": False,
        "series": [
            {
                "type": "graph",
                "layout": "none",
                "roam": True,
                "selectedMode": "single",
                "symbol": "roundRect",
                "symbolSize": [160, 42],
                "lineStyle": {"width": 2, "opacity": 0.8},
                "label": {"show": True, "color": "#fff", "lineHeight": 15, "fontSize": 11},
                "left": ASIDE_PX,
                "right": ASIDE_PX,
                "top": ABOVE_PX,
                "bottom": ABOVE_PX,
                "data": [*wide, *edges],
                "links": [{"source": before, "target": node.name} for node in drawn for before in node.needs],
            }
        ],
        "media": [
            {
                "query": {"maxWidth": 560},
                "option": {
                    "series": [{"symbolSize": [72, 36], "left": 40, "right": 40, "label": {"fontSize": 9, "lineHeight": 12}, "data": [*narrow, *edges]}]
                },
            }
        ],
    }


def rows(drawn: Sequence[Node]) -> int:
    """How many nodes stand above each other at most: what the picture's height follows."""
    columns = _columns({node.name: node.needs for node in drawn})
    return max(Counter(columns.values()).values(), default=0)


def gantt(drawn: Sequence[Node], steps: Mapping[str, Step], now: datetime) -> dict[str, Any]:
    """When each node of the picture ran, in seconds since the first began: bars for ECharts; `MOST_BARS` at most."""
    spans = []
    for node in drawn:
        own = [steps[key] for key in node.keys if key in steps and steps[key].started_at is not None]
        if own:
            begun = min(s.started_at for s in own if s.started_at is not None)
            spans.append((node, begun, max(s.ended_at or now for s in own)))
    spans = sorted(spans, key=lambda span: span[1])[:MOST_BARS]
    if not spans:
        return {}
    first = spans[0][1]
    return {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 8, "bottom": 40},
        "xAxis": {"type": "value", "name": "seconds", "nameLocation": "middle", "nameGap": 24},
        "yAxis": {"type": "category", "inverse": True, "data": [f"{SYMBOLS[n.state]} {short(n.label, 20)}" for n, _, _ in spans]},
        "series": [
            {
                "type": "bar",
                "stack": "time",
                "silent": True,
                "itemStyle": {"color": "transparent"},
                "data": [round((begun - first).total_seconds(), 3) for _, begun, _ in spans],
            },
            {
                "type": "bar",
                "stack": "time",
                "barMinHeight": 2,
                "data": [
                    {"value": round((ended - begun).total_seconds(), 3), "itemStyle": {"color": COLOURS[n.state]}, "name": n.name} for n, begun, ended in spans
                ],
            },
        ],
    }
