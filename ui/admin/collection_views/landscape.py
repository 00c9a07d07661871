"""Where a collection's passages lie beside each other, and which say nearly the same."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import streamlit as st

from core.console.collections import Holdings, Passage
from core.inference import Vector
from core.rag.landscape import inside
from ui.admin.bridge import ask, console
from ui.admin.frame import live, nothing

COLOURS = 10
"""What the theme has. Up to so many documents have one each, and a legend; of more, each tenth has the same."""
MANY = 2000
"""More points than this are drawn in one stroke, and small: a mark of its own for each takes a browser seconds."""
SPAN = 10_000
"""The axes have no unit: the point that is farthest out lies here. Whole numbers are written in half the time of others, and every chat waits meanwhile."""
HOVERED_CHARS = 80
MOST_READ = 200


@live(None)
def landscape(held: Holdings) -> None:
    """Its passages as points: near means alike. It draws itself again alone when some are circled."""
    found = ask(console().collections.landscape, held.collection.id)
    if len(found.passages) < 3:
        nothing("There are too few passages for a map.", icon=":material/map:")
        return
    places = np.rint(found.points * (SPAN / (np.abs(found.points).max() or 1)))
    told = f"{len(found.passages):,} of {held.live_chunks:,} passages, on the two axes along which they differ most."
    # What was circled in a collection as it was means nothing once it has changed.
    event = st.echarts_chart(chart(found.passages, places), height=520, on_select="rerun", key=f"map-{held.collection.id}-{found.state}", alt=told)
    st.caption(f"{told} Circle some with the lasso to read them; drag and scroll to look closer.")
    circled = {n for area in event["selection"]["areas"] for n in np.flatnonzero(inside(places, outline(area))).tolist()}
    if circled:
        picked = [found.passages[n] for n in sorted(circled)[:MOST_READ]]
        st.dataframe([{"Document": p.document, "Passage": p.content, "Chunk": p.chunk_id} for p in picked], hide_index=True, key="picked")


def chart(passages: Sequence[Passage], places: Vector) -> Mapping[str, Any]:
    """The map as ECharts draws it: what shares a colour is a series, and a point is [x, y, the passage]."""
    by_document: dict[str, list[int]] = {}
    for n, passage in enumerate(passages):
        by_document.setdefault(passage.document_id, []).append(n)
    documents, few = list(by_document.values()), len(by_document) <= COLOURS
    series = [(passages[d[0]].document, d) for d in documents] if few else [(f"{n}", [*chain(*documents[n::COLOURS])]) for n in range(COLOURS)]
    many = len(passages) > MANY
    mark = {"type": "scatter", "symbolSize": 4 if many else 9, "large": many, "largeThreshold": 1}
    points = [[x, y, passage.content[:HOVERED_CHARS]] for (x, y), passage in zip(places.astype(int).tolist(), passages, strict=True)]
    axis = {"type": "value", "scale": True, "axisLabel": {"show": False}, "axisTick": {"show": False}}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 8, "top": 40, "bottom": 40 if few else 8},
        "xAxis": axis,
        "yAxis": axis,
        "legend": {"show": few, "type": "scroll", "bottom": 0},
        "tooltip": {"formatter": "{@[2]}", "confine": True},
        "dataZoom": [{"type": "inside", "xAxisIndex": 0, "filterMode": "none"}, {"type": "inside", "yAxisIndex": 0, "filterMode": "none"}],
        "toolbox": {"left": 0, "feature": {"brush": {"type": ["polygon", "rect", "clear"], "title": {"polygon": "Lasso", "rect": "Box", "clear": "Clear"}}}},
        "brush": {"xAxisIndex": 0, "yAxisIndex": 0},
        "series": [mark | {"name": name, "data": [points[n] for n in of]} for name, of in series],
    }


def outline(area: Mapping[str, Any]) -> Vector:
    """The corners of what was circled: ECharts tells areas, and which points lie in them only where it draws each for itself."""
    if area["brush_type"] == "rect":
        (left, right), (low, high) = area["coord_range"]
        return np.array([(left, low), (right, low), (right, high), (left, high)], np.float32)
    return np.array(area["coord_range"], np.float32)


def duplicates(held: Holdings) -> None:
    """Pairs that say nearly the same."""
    threshold = st.slider("Alike from", 0.5, 1.0, 0.95, 0.01, key="alike", bind="query-params")
    if not st.toggle("Compare", key="compare", help="Every passage with every other; takes a moment."):
        return
    compared, pairs = ask(console().collections.duplicates, held.collection.id, threshold)
    st.caption(f"{compared:,} of {held.live_chunks:,} passages were compared with each other.")
    if not pairs:
        nothing("No two passages are so much alike.", icon=":material/content_copy:")
        return
    rows = [
        {"Alike": round(similarity, 3), "One": one.content, "In": one.document, "Other": other.content, "In too": other.document}
        for one, other, similarity in pairs
    ]
    st.dataframe(rows, hide_index=True, key="pairs")
