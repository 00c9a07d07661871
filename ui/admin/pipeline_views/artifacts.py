"""What a run has made: its files with their addresses, and a look into one."""

import streamlit as st

from core.workflow.model import Artifact, ArtifactType, PipelineRun
from ui.admin.bridge import ask_room, pipelines
from ui.admin.downloads import artifact_address
from ui.admin.frame import nothing, size
from ui.admin.pipeline_views.previews import preview

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
                "Step": _made_by(a),
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
    names = {a.id: f"{_made_by(a)} · {a.name}" for a in shown}
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


def _made_by(artifact: Artifact) -> str:
    """Its step; of what the run was given, the parameter."""
    return artifact.step or f"given as {artifact.metadata.get('parameter', '')}"


def _bytes(artifact: Artifact) -> int:
    found = artifact.metadata.get("size_bytes", 0)
    return found if isinstance(found, int) else 0
