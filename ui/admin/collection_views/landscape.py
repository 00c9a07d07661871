"""Where a collection's passages lie beside each other, and which say nearly the same."""

import pandas as pd
import plotly.express as px
import streamlit as st

from core.console.collections import Holdings
from ui.admin.bridge import ask, console
from ui.admin.frame import nothing


def landscape(held: Holdings) -> None:
    """Its passages as points: near means alike."""
    found = ask(console().collections.landscape, held.collection.id)
    if len(found.passages) < 3:
        nothing("There are too few passages for a map.", icon=":material/map:")
        return
    titles, texts = [p.document for p in found.passages], [p.content[:80] for p in found.passages]
    frame = pd.DataFrame({"x": found.points[:, 0], "y": found.points[:, 1], "document": titles, "passage": texts})
    many = frame["document"].nunique() > 20
    figure = px.scatter(frame, x="x", y="y", color=None if many else "document", hover_name="passage", render_mode="webgl", height=520)
    figure.update_layout(xaxis_title=None, yaxis_title=None, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    if many:
        figure.update_traces(marker={"color": pd.factorize(frame["document"])[0], "colorscale": "Turbo", "size": 4})
    event = st.plotly_chart(figure, on_select="rerun", selection_mode=("lasso", "box", "points"), key="map")
    st.caption(f"{len(found.passages):,} of {held.live_chunks:,} passages, on the two axes along which they differ most. Circle some to read them.")
    picked = [found.passages[n] for n in _picked(event, many, frame)][:200]
    if picked:
        st.dataframe([{"Document": p.document, "Passage": p.content, "Chunk": p.chunk_id} for p in picked], hide_index=True, key="picked")


def _picked(event: object, many: bool, frame: pd.DataFrame) -> list[int]:
    """The places of the selected points; with a colour per document each document is a trace of its own."""
    points = getattr(getattr(event, "selection", None), "points", [])
    if many:
        return [int(p["point_index"]) for p in points]
    order = {n: list(group.index) for n, (_, group) in enumerate(frame.groupby("document", sort=False))}
    return [int(order[p["curve_number"]][p["point_index"]]) for p in points]


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
