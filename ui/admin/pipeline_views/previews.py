"""A look into a file that a run has made, by its kind. One that isn't what its kind says is told to be broken; what can be read of it is shown as text."""

import codecs
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from core.voice.containers import container_of
from core.workflow.model import Artifact, PipelineRun
from ui.admin.downloads import artifact_page_address
from ui.admin.frame import nothing, size

PREVIEW_BYTES = 64 << 10
PREVIEW_ROWS = 100
MOST_SHOWN_BYTES = 20_000_000
"""Of a file that can only be shown whole."""
MOST_PIXELS = 50_000_000
"""Decoded, 150 MB at three bytes each."""
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def preview(run: PipelineRun, artifact: Artifact, path: Path) -> None:
    """Draws what can be shown of it: its beginning if it is long."""
    media_type, count = str(artifact.metadata.get("media_type", "")), path.stat().st_size
    metrics = artifact.metadata.get("metrics")
    if isinstance(metrics, Mapping) and metrics:
        st.dataframe([{"Metric": str(k), "Value": v} for k, v in list(metrics.items())[:200]], hide_index=True, key="preview-metrics")
        return
    table = (path.suffix or Path(artifact.name).suffix) == ".parquet"
    if not count:
        nothing("It is empty.", icon=":material/draft:")
    elif media_type in PICTURES or media_type.startswith("audio/") or table:
        if count > MOST_SHOWN_BYTES:
            nothing(f"It has {size(count)}, which is too much to be shown.", then="Download it.", icon=":material/visibility_off:")
            return
        try:
            if table:
                _parquet(path)
            elif media_type in PICTURES:
                _picture(path)
            else:
                _sound(path, media_type)
        except (OSError, ValueError):
            _broken("It can't be shown: it is not what its name says.")
    else:
        _text(run, artifact, path, media_type, count)


def _broken(what: str) -> None:
    st.warning(f"{what} Download it to look closer.", icon=":material/broken_image:")


def _parquet(path: Path) -> None:
    """Raises: OSError, ValueError (pyarrow's errors are such)."""
    import pyarrow.parquet as pq  # some tens of milliseconds to import, and few look into a parquet file

    file = pq.ParquetFile(path)
    first = next(file.iter_batches(PREVIEW_ROWS), None)
    st.dataframe(first.to_pandas() if first is not None else [], hide_index=True, key="preview-rows")
    st.caption(f"{file.metadata.num_rows:,} rows, {file.metadata.num_columns} columns; at most {PREVIEW_ROWS} are shown.")


def _picture(path: Path) -> None:
    """Raises: OSError for one that can't be decoded to its end."""
    from PIL import Image  # needed by few pages

    try:
        with Image.open(path) as picture:
            width_px, height_px = picture.size
            if width_px * height_px > MOST_PIXELS:
                nothing(f"It has {width_px:,} × {height_px:,} pixels, which is too much to be shown.", then="Download it.", icon=":material/visibility_off:")
                return
            picture.load()
    except (Image.DecompressionBombError, SyntaxError) as error:  # how Pillow tells of too many pixels, and of broken PNG files
        raise ValueError(str(error)) from error
    st.image(path.read_bytes())
    st.caption(f"{width_px:,} × {height_px:,} pixels")


def _sound(path: Path, media_type: str) -> None:
    """Raises: ValueError for bytes that don't begin as any sound that browsers play."""
    held = path.read_bytes()
    if not container_of(held[:64]):
        raise ValueError("no sound")
    st.audio(held, format=media_type)


def _text(run: PipelineRun, artifact: Artifact, path: Path, media_type: str, count: int) -> None:
    with path.open("rb") as file:
        head = file.read(PREVIEW_BYTES)
    if b"\0" in head:
        _broken("It is no text.")
        return
    whole = count <= PREVIEW_BYTES
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError as error:
        text = head.decode("utf-8", "replace")
        _broken(f"It is no text in UTF-8: byte {error.start:,} is none of it, and \ufffd stands for it.")
    if media_type == "text/html":
        st.iframe(artifact_page_address(run.id, artifact.id), height=480)
        st.caption("Shown in a box: its scripts don't run.")
        return
    if media_type == "text/csv":
        drawn = _csv(text, whole)
    else:
        drawn = media_type == "application/json" and whole and _json(text)
    if not drawn:
        st.code(text, language=None, wrap_lines=True, height=400 if count > 2000 else "content")
    if not whole:
        st.caption(f"The first {size(PREVIEW_BYTES)} of {size(count)}.")


def _csv(text: str, whole: bool) -> bool:
    """Draws the table; False, with a sentence, for text that is none."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            rows.append(row)
            if len(rows) > PREVIEW_ROWS:
                break
        else:
            if not whole:
                rows.pop()  # cut somewhere
    except csv.Error as error:
        if whole:
            _broken(f"It is no table: {error}.")
            return False
    first, *rest = rows or [[]]
    for n, row in enumerate(rest, 2):
        if row and len(row) != len(first):
            _broken(f"It is no table: its row {n} has {len(row)} cells and its head {len(first)}.")
            return False
    columns = [f"{n + 1}: {name}" if first.count(name) > 1 else name for n, name in enumerate(first)]
    st.dataframe([dict(zip(columns, row, strict=True)) for row in rest if row] or {name: [] for name in columns}, hide_index=True, key="preview-rows")
    return True


def _json(text: str) -> bool:
    """Draws an object or a list; False for anything else, with a sentence if it isn't JSON at all."""
    try:
        held = json.loads(text)
    except ValueError as error:
        _broken(f"It is no JSON: {error}.")
        return False
    except RecursionError:
        return False
    if not isinstance(held, (dict, list)):
        return False
    st.json(held, expanded=2)
    return True
