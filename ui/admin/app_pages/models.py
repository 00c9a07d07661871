"""The models: what there is, what is in memory and why, fetching, loading, trying."""

import streamlit as st

from core.console.models import Fetching, Tried
from core.inference import CatalogueEntry, Service
from ui.admin.bridge import ask, console
from ui.admin.frame import live, nothing, size, underway

room = console().models
SERVICES = {"llm": "chat", "embeddings": "embed", "reranker": "rerank", "stt": "hear", "tts": "speak"}


def row(entry: CatalogueEntry) -> dict[str, object]:
    """A model in the catalogue."""
    return {
        "Name": entry.name,
        "Does": SERVICES[entry.service.value],
        "State": entry.state,
        "Download": size(entry.download_bytes) if entry.download_bytes else "",
        "On disk": size(entry.fetched_bytes) if entry.fetched_bytes else "",
        "Licence": entry.licence,
        "Dimensions": entry.dimensions,
        "Context": entry.context_tokens,
        "Languages": ", ".join(entry.languages),
        "Note": entry.note,
    }


@live(5)
def residence() -> None:
    """What the inference process has in memory."""
    found = ask(room.residences)
    if found is None:
        nothing("No model runs here: every service has a URL of its own.", icon=":material/cloud:")
        return
    rows = [
        {
            "Service": service.value,
            "Model": r.model,
            "In memory": "yes" if r.loaded else "no: loaded when it is first used",
            "On": r.device,
            "Memory": size(r.grown_bytes) if r.grown_bytes is not None else "",
            "Loaded in": f"{r.load_ms:,.0f} ms" if r.load_ms is not None else "",
            "Idle": f"{r.idle_s:,.0f} s",
            "Unloaded after": "never" if r.unload_after_s < 0 else f"{r.unload_after_s:,.0f} s idle",
            "Serving": r.queue.serving,
            "Waiting": r.queue.waiting_premium + r.queue.waiting_standard,
        }
        for service, r in found.models.items()
    ]
    st.dataframe(rows, hide_index=True, key="residence")
    st.caption(
        f"The process that holds them takes {size(found.resident_bytes)}; {found.threads} of the processor's threads are theirs at most. "
        "A model's memory is by how much that process grew while it was loaded; the first one's holds the software that runs it."
    )


def whereabouts() -> None:
    """Where each service is, asked when somebody wants to know."""
    if not st.button("Check every service", icon=":material/network_check:", key="check"):
        return
    rows = [
        {"Service": p.part, "At": p.adapter, "State": "works" if p.ready else "does not work", "Says": p.detail, "Answers in ms": p.ms}
        for p in ask(room.checked)
    ]
    st.dataframe(rows, hide_index=True, column_config={"Says": st.column_config.TextColumn(width="large")}, key="whereabouts")


def loading() -> None:
    """Load and unload by hand."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        service = st.selectbox("Service", list(Service), format_func=lambda s: s.value, key="service", bind="query-params") or Service.LLM
        if st.button("Load", icon=":material/memory:", key="load"):
            ask(room.load, service)
            st.rerun()
        if st.button("Unload", icon=":material/eject:", key="unload"):
            ask(room.unload, service)
            st.rerun()


def fetching(state: Fetching) -> None:
    """How far a fetch is."""
    if state.problem:
        st.error(f"{state.name}: {state.problem}", icon=":material/error:")
    elif state.stopped:
        st.info(f"{state.name} was stopped; nothing of it is left.", icon=":material/stop_circle:")
    elif state.over:
        st.success(f"{state.name} is here.", icon=":material/task_alt:")
    else:
        share = min(1.0, state.done_bytes / state.total_bytes) if state.total_bytes else 0.0
        st.progress(share, f"{state.name}: {state.what or 'waiting to begin'} · {size(state.done_bytes)}")


def shown(tried: Tried) -> None:
    """What a model said, and how long it took."""
    if tried.said:
        st.code(tried.said, language=None, wrap_lines=True)
    if tried.sound:
        st.audio(tried.sound, format="audio/wav")
    first = f"first word after {tried.first_ms:,.0f} ms · " if tried.first_ms is not None else ""
    st.caption(f"{first}{tried.whole_ms:,.0f} ms in all")


def trying() -> None:
    """One request to each kind of model."""
    what = st.segmented_control("Try", ["chat", "embed", "rerank", "speak", "hear"], default="chat", key="try", bind="query-params")
    with st.form("try-it"):
        text = st.text_input("Text", "What is the capital of France?", key="try_text")
        others = ""
        if what in ("embed", "rerank"):
            others = st.text_area("Texts to compare it with, one a line", "Paris is the capital of France.\nThe shed is locked.", key="try_others")
        asked = st.form_submit_button("Try", type="primary", icon=":material/play_arrow:")
    if not asked:
        return
    lines = [line.strip() for line in others.splitlines() if line.strip()]
    if what == "embed":
        shown(ask(room.embed, [text, *lines]))
    elif what == "rerank":
        shown(ask(room.rerank, text, lines))
    elif what == "speak":
        shown(ask(room.speak, text))
    elif what == "hear":
        shown(ask(room.hear, text))
    else:
        shown(ask(room.chat, text))


st.subheader("In memory")
residence()
loading()
whereabouts()
st.subheader("Catalogue")
entries = ask(room.catalogue)
st.dataframe([row(e) for e in entries], hide_index=True, column_config={"Note": st.column_config.TextColumn(width="large")}, key="catalogue")
missing = [e.name for e in entries if e.state == "missing"]
if missing:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Not fetched", missing, key="wanted")
        if st.button("Fetch", icon=":material/download:", key="fetch"):
            ask(room.fetch, name)
underway("stop-fetch", lambda: ask(room.fetching), fetching, lambda: ask(room.stop))
st.subheader("Try it")
trying()
