"""A collection's vectors by the model that made them: re-embedding, comparing, letting another version be searched."""

from collections.abc import Sequence

import streamlit as st

from core.console.collections import Holdings
from core.console.versions import Compared
from core.rag.model import CollectionVersion, VersionState
from ui.admin.bridge import ask, console
from ui.admin.frame import ago, deleting, live, shown


def versions(held: Holdings) -> None:
    """Its vectors by the model that made them: one version is searched, another is made beside it, compared, served, or removed."""
    collection_id, searched = held.collection.id, held.collection.version
    found = ask(console().versions.of, collection_id)
    building = [v.version for v in found if v.state is VersionState.BUILDING]

    @live(2 if building else None)
    def drawn() -> None:
        now = ask(console().versions.of, collection_id)
        if building != [v.version for v in now if v.state is VersionState.BUILDING]:
            st.rerun()  # the whole page: something else can be done with it
        listed(now, searched)

    drawn()
    # Its number is chosen, not the version itself: what is kept between two drawings would be the version as it was then.
    if others := {v.version: v for v in found if v.version != searched}:
        number = st.selectbox("Another version", others, format_func=lambda n: f"version {n}, {others[n].embedding_model}", key="another")
        beside(held, others[number])
    with st.container(border=True):
        st.text("Re-embed every passage with another model, in the background. What is searched stays as it is until you let the new version be searched.")
        offered = ask(console().versions.models)
        model = st.selectbox("Model", offered, index=None, accept_new_options=True, placeholder="Choose one, or write its name", key="model")
        if st.button("Re-embed", icon=":material/model_training:", key="re-embed", disabled=not model):
            begun = ask(console().versions.begin, collection_id, model or "")
            st.toast(f"Version {begun.version} is being made.", icon=":material/check:")
            st.rerun()


def listed(found: Sequence[CollectionVersion], searched: int) -> None:
    """All versions, and how far the one has come that is being made."""
    rows = [
        {
            "Version": v.version,
            "State": "searched" if v.version == searched else v.state.value,
            "Model": v.embedding_model,
            "Dimensions": v.dimensions,
            "Made": ago(v.made_at),
            "Note": v.error,
        }
        for v in found
    ]
    st.dataframe(rows, hide_index=True, key="version-list")
    for version in found:
        if version.state is VersionState.BUILDING:
            st.progress(version.done / max(1, version.total), f"Version {version.version}: {version.done:,} of {version.total:,} passages")


def beside(held: Holdings, other: CollectionVersion) -> None:
    """What can be done with a version that is not searched."""
    collection_id, searched, number = held.collection.id, held.collection.version, other.version
    if other.state is VersionState.READY and st.toggle("Compare it with the one that is searched", key="compare-versions"):
        with shown():  # it may take longer than a page waits
            compared(ask(console().versions.compare, collection_id, searched, number), searched, number)
    with st.container(horizontal=True):
        if other.state is VersionState.FAILED:
            if st.button("Go on with it", icon=":material/replay:", key="again"):
                ask(console().versions.again, collection_id, number)
                st.rerun()
        elif st.button(
            f"Let version {number} be searched", icon=":material/swap_horiz:", type="primary", key="serve", disabled=other.state is VersionState.BUILDING
        ):
            ask(console().versions.serve, collection_id, number)
            st.toast(f"Version {number} is searched from now on; version {searched} is kept to go back to.", icon=":material/check:")
            st.rerun()
    deleting(
        "drop-version",
        "Remove this version",
        what=f"version {number} of {held.collection.name}",
        goes=[f"the vectors that {other.embedding_model} made; the documents and the version that is searched stay"],
        act=lambda: ask(console().versions.drop, collection_id, number),
    )


def compared(found: Compared, searched: int, other: int) -> None:
    """What each of two versions finds."""
    rows = [(searched, found.first), (other, found.second)]
    st.dataframe(
        [{"Version": n, "Found among the first 5": f"{f.recall:.0%}", "Mean reciprocal rank": round(f.mrr, 3)} for n, f in rows],
        hide_index=True,
        key="compared",
    )
    asked = "questions of golden sets" if found.golden else "first sentences of passages, each of which should find its own; golden sets would say more"
    st.caption(f"By meaning alone, {found.questions:,} {asked}, among {found.passages:,} passages.")
