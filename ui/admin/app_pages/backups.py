"""The backups: making one, the schedule, what is in each, taking one away, deleting one."""

import streamlit as st

from ui.admin.bridge import ask, console
from ui.admin.downloads import backup_address
from ui.admin.frame import PAGE_ROWS, ago, deleting, live, nothing, size

keeping = console().keeping


def back_up() -> None:
    """Begins one."""
    ask(keeping.back_up)


@live(2)
def state() -> None:
    """The schedule, and how far the one is that is being made; the page is drawn again once it is there."""
    now = ask(keeping.backup_state)
    if now.every_h:
        st.text(f"Every {now.every_h:g} hours; the next comes {ago(now.next_at)}. The latest {now.keep} are kept, in {now.folder}.")
    else:
        st.text(f"None on schedule: set HEARTH_BACKUP_EVERY_H. The latest {now.keep} are kept, in {now.folder}.")
    if now.problem:
        st.error(f"The last backup could not be made. {now.problem}", icon=":material/error:")
    working = now.done is not None
    if now.done is not None:
        st.progress(now.done, f"Backing up: {now.done:.0%}")
    elif st.session_state.get("backing-up"):
        st.session_state["backing-up"] = False
        st.rerun()
    st.session_state["backing-up"] = working


st.button("Back up now", icon=":material/save:", type="primary", on_click=back_up, key="back-up")
state()
found = ask(keeping.backups)
if not found:
    nothing("There is no backup yet.", then="Make one above, or run `hearth backup`.", icon=":material/save:")
else:
    st.caption(
        f"What was deleted since {found[-1].made_at:%Y-%m-%d %H:%M} UTC may still be in one of these: nothing reaches into a backup. It is gone when the last "
        "one from before has been deleted, here or by its turn. A backup holds everybody's words and documents: keep it as safe as this machine."
    )
    rows = [
        {
            "Made": ago(b.made_at),
            "At": b.made_at,
            "Size": size(b.size_bytes),
            "Users": b.manifest.rows.get("users") if b.manifest else None,
            "Messages": b.manifest.rows.get("messages") if b.manifest else None,
            "Documents": b.manifest.rows.get("documents") if b.manifest else None,
            "Files": b.manifest.files if b.manifest else None,
            "Missing files": b.manifest.missing if b.manifest else None,
            "Hearth": f"{b.manifest.hearth}, revision {b.manifest.revision}" if b.manifest else b.problem,
            "File": b.name,
        }
        for b in found[:PAGE_ROWS]
    ]
    st.dataframe(rows, hide_index=True, column_config={"At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss")}, key="backups")
    if len(found) > PAGE_ROWS:
        st.caption(f"{len(found) - PAGE_ROWS} older ones are not shown.")
    name = st.selectbox("Backup", [b.name for b in found], key="backup", bind="query-params")
    with st.container(horizontal=True):
        st.link_button("Download", backup_address(name), icon=":material/download:")
        deleting(f"drop-{name}", "Delete", what=f"the backup {name}", act=lambda: ask(keeping.delete_backup, name))
    st.text("To restore it, on any machine, into a folder that is empty or not there yet:")
    st.code(f"hearth restore {name} --home NEW_FOLDER", language="bash")
