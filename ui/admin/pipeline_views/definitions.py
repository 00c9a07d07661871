"""Writing a pipeline's definition: checked and drawn before it is kept, and compared with the version before."""

import difflib
from collections.abc import Iterable

import streamlit as st

from core.errors import BadInput
from core.workflow.model import Engine, Pipeline, PipelineSpec
from core.workflow.room import MAX_DEFINITION_BYTES
from ui.admin.bridge import ask_room, pipelines
from ui.admin.pipeline_views.comparing import told
from ui.admin.pipeline_views.graph import chart, height_px, nodes
from ui.errors import sentence

SHOWN_LINES = 15
"""Of a definition; more are scrolled."""
MOST_COMPARED_LINES = 3000
"""Comparing takes the square of the lines at worst (difflib's documentation)."""


def editor(name: str, engine: Engine | None, text: str) -> None:
    """Draws the editor. name, engine: of the pipeline that gets a version, "" and None for a new one.   text: what it begins with."""
    of = name or "new"
    with st.form(f"definition-{of}"):
        wanted = name or st.text_input("Name", key="new_name", placeholder="lower-case letters, digits, hyphens")
        language = engine or st.selectbox("Engine", list(Engine), format_func=lambda e: e.value, key="new_engine") or Engine.KUBEFLOW
        typed = st.text_area("Definition (YAML)", text, height=360, key=f"yaml-{of}")
        file = st.file_uploader("Or a file; it counts instead of what is typed", type=["yaml", "yml", "json"], key=f"yaml-file-{of}")
        with st.container(horizontal=True):
            check = st.form_submit_button("Check", icon=":material/fact_check:")
            keep = st.form_submit_button("Save as a version", type="primary", icon=":material/save:")
    if not (check or keep):
        return
    try:
        definition = _uploaded(file.getvalue()) if file is not None else (typed or "")
        if not definition.strip():
            raise BadInput("There is no definition.", hint="Write one, or choose a file.")
        if keep:
            made = ask_room(pipelines().define, (wanted or "").strip(), language, definition)
            st.toast(f"{made.id} is kept.", icon=":material/check:")
            st.switch_page("app_pages/pipelines.py", query_params={"pipeline": made.name, "version": made.id})
        explained(ask_room(pipelines().validate, language, definition))
        st.success("It can be run here.", icon=":material/task_alt:")
    except BadInput as error:
        st.error(sentence(error), icon=":material/error:")


def _uploaded(held: bytes) -> str:
    if len(held) > MAX_DEFINITION_BYTES:
        raise BadInput(f"The definition has more than {MAX_DEFINITION_BYTES >> 20} MB.", hint="Keep data in collections or objects, not in a pipeline.")
    try:
        return held.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("The file is no text in UTF-8.", hint="Choose a YAML file.") from None


def explained(spec: PipelineSpec) -> None:
    """Draws what a definition says: notes, parameters and the graph before anything runs."""
    if spec.description:
        st.text(spec.description)
    for note in spec.notes:
        st.info(note, icon=":material/info:")
    if spec.parameters:
        st.dataframe(
            [
                {
                    "Parameter": p.name,
                    "Type": p.type.value,
                    "Default": "must be given" if p.required else "–" if p.default is None else told(p.default),
                    "Values": ", ".join(p.options),
                    "About": p.description,
                }
                for p in spec.parameters[:200]
            ],
            hide_index=True,
            key="spec-parameters",
        )
    drawn = nodes(spec.graph, [])
    if drawn:
        st.echarts_chart(chart(drawn, {}), height=height_px(drawn), key="planned", alt=f"{len(spec.graph)} tasks before they run.")


def versions(found: Iterable[Pipeline], chosen: Pipeline) -> None:
    """Draws the definition of one version, and how it differs from the one before."""
    before = next((p for p in found if p.version < chosen.version), None)
    long = chosen.definition.count("\n") > SHOWN_LINES
    st.code(chosen.definition, language="yaml", line_numbers=True, height=360 if long else "content")
    if before is None:
        st.caption("There is no version before it to compare it with.")
        return
    old, new = before.definition.splitlines(), chosen.definition.splitlines()
    if len(old) + len(new) > MOST_COMPARED_LINES:
        st.caption("Both are too long to be compared here.")
        return
    lines = difflib.unified_diff(old, new, before.id, chosen.id, lineterm="", n=3)
    st.markdown("**Different from the version before**")
    st.code("\n".join(lines) or "Nothing differs but the ends of lines.", language="diff")
