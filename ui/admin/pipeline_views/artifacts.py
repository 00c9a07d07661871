"""What a run has made: its files with their addresses, and a look into one."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from core.workflow.model import Artifact, ArtifactType, PipelineRun
from ui.admin.bridge import ask_room, pipelines
from ui.admin.downloads import artifact_address, artifact_page_address
from ui.admin.frame import nothing, size

PREVIEW_BYTES = 64 << 10
PREVIEW_ROWS = 100
MOST_SHOWN_BYTES = 20_000_000
"""Of a file that can only be shown whole."""
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
ROWS = 50


def artifacts(run: PipelineRun) -> None:
    """Draws them; logs, which stand beside their steps, only when they are asked for."""
    logs = st.toggle("With logs", False, key="with_logs", bind="query-params")
    made = [a for a in run.artifacts if logs or a.type is not ArtifactType.LOGS]
    if not made:
        nothing("There is no artifact.", then="" if run.status.over else "Steps leave theirs when they end.", icon=":material/draft:")
        return
    pages = -(-len(made) // ROWS)
    place = min(st.pagination(pages, key="artifacts_page", bind="query-params"), pages) if pages > 1 else 1
    shown = made[(place - 1) * ROWS : place * ROWS]
    st.dataframe(
        [
            {
                "Name": a.name,
                "Type": a.type.value,
                "Step": a.step,
                "Size": size(_bytes(a)) if "size_bytes" in a.metadata else "–",
                "Download": artifact_address(run.id, a.id),
                "Address": a.uri,
            }
            for a in shown
        ],
        hide_index=True,
        column_config={"Download": st.column_config.LinkColumn(display_text="download")},
        key="artifact-list",
    )
    names = {a.id: f"{a.step} · {a.name}" for a in shown}
    asked = st.query_params.get("artifact", "")
    if asked in names:
        st.session_state["preview"] = asked
    chosen = st.selectbox("Look into", list(names), None, format_func=lambda i: names.get(i, i), key="preview", on_change=_choose, placeholder="an artifact")
    if chosen in names:
        artifact, path = ask_room(pipelines().artifact, run.id, chosen)
        st.code(artifact.uri, language=None)
        preview(run, artifact, path)


def _choose() -> None:
    if st.session_state.get("preview"):
        st.query_params["artifact"] = st.session_state["preview"]
    else:
        st.query_params.pop("artifact", None)


def _bytes(artifact: Artifact) -> int:
    found = artifact.metadata.get("size_bytes", 0)
    return found if isinstance(found, int) else 0


def preview(run: PipelineRun, artifact: Artifact, path: Path) -> None:
    """Draws what can be shown of it: its beginning if it is long."""
    media_type, count = str(artifact.metadata.get("media_type", "")), path.stat().st_size
    metrics = artifact.metadata.get("metrics")
    if isinstance(metrics, Mapping) and metrics:
        st.dataframe([{"Metric": str(k), "Value": v} for k, v in list(metrics.items())[:200]], hide_index=True, key="preview-metrics")
        return
    suffix = path.suffix or Path(artifact.name).suffix
    if media_type == "text/html":
        st.iframe(artifact_page_address(run.id, artifact.id), height=480)
        st.caption("Shown in a box: its scripts don't run.")
    elif media_type in PICTURES or media_type.startswith("audio/") or suffix == ".parquet":
        if count > MOST_SHOWN_BYTES:
            nothing(f"It has {size(count)}, which is too much to be shown.", then="Download it.", icon=":material/visibility_off:")
            return
        try:
            _whole(path, media_type, suffix)
        except (OSError, ValueError):
            nothing("It can't be shown: it is not what its name says.", then="Download it.", icon=":material/broken_image:")
    else:
        _text(path, media_type, count)


def _whole(path: Path, media_type: str, suffix: str) -> None:
    if suffix == ".parquet":
        import pyarrow.parquet as pq  # some tens of milliseconds to import, and few look into a parquet file

        file = pq.ParquetFile(path)
        first = next(file.iter_batches(PREVIEW_ROWS), None)
        st.dataframe(first.to_pandas() if first is not None else [], hide_index=True, key="preview-rows")
        st.caption(f"{file.metadata.num_rows:,} rows, {file.metadata.num_columns} columns; the first {PREVIEW_ROWS} are shown.")
    elif media_type in PICTURES:
        st.image(path.read_bytes())
    else:
        st.audio(path.read_bytes(), format=media_type)


def _text(path: Path, media_type: str, count: int) -> None:
    with path.open("rb") as file:
        head = file.read(PREVIEW_BYTES)
    if b"\0" in head:
        nothing("It is no text.", then="Download it.", icon=":material/visibility_off:")
        return
    text = head.decode("utf-8", "replace")
    if media_type == "text/csv":
        first, *rest = [*csv.reader(io.StringIO(text))][: PREVIEW_ROWS + 1] or [[]]
        columns = [f"{n + 1}: {name}" if first.count(name) > 1 else name for n, name in enumerate(first)]
        st.dataframe([dict(zip(columns, row, strict=False)) for row in rest], hide_index=True, key="preview-rows")
    elif media_type == "application/json" and count <= PREVIEW_BYTES and (held := _json(text)) is not None:
        st.json(held, expanded=2)
    else:
        st.code(text, language=None, wrap_lines=True, height=400 if count > 2000 else "content")
    if count > PREVIEW_BYTES:
        st.caption(f"The first {size(PREVIEW_BYTES)} of {size(count)}.")


def _json(text: str) -> dict[str, object] | list[object] | None:
    try:
        held = json.loads(text)
    except ValueError:
        return None
    return held if isinstance(held, (dict, list)) else None
