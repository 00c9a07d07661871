"""The form of a run, made from the parameters that its definition declares."""

from collections.abc import Mapping

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.errors import BadInput
from core.workflow.model import Parameter, ParameterType, Value, read_parameter
from ui.admin.pipeline_views.comparing import told

FROM_FILES = (ParameterType.STRING, ParameterType.LIST, ParameterType.STRUCT)
MAX_INPUT_BYTES = 1 << 20
"""A file becomes the value of a parameter, which is kept with the run; more belongs in a collection or an object."""
SAFE_INTEGER = 2**53 - 1
"""The largest whole number that a browser keeps exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""


def text_of(file: UploadedFile) -> str:
    """A file's content as text. Raises: BadInput if it is too large or no text."""
    if file.size > MAX_INPUT_BYTES:
        raise BadInput(f"The file {file.name[:80]!r} has more than {MAX_INPUT_BYTES >> 20} MB.", hint="Put it into a collection or the object store.")
    try:
        return file.getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"The file {file.name[:80]!r} is no text in UTF-8.", hint="Choose a text file.") from None


def run_form(of: str, parameters: tuple[Parameter, ...], before: Mapping[str, Value], experiment: str) -> tuple[dict[str, Value], str] | None:
    """Draws the form; once it is sent, what to start with: values by name and the experiment.

    of: what the form belongs to, so that another one's input isn't kept in it.   before: the values that it begins with, where they aren't the defaults.
    Raises: BadInput for a value that is none of its type.
    """
    typed: dict[str, Value] = {}
    texts: dict[str, tuple[Parameter, str, UploadedFile | None]] = {}
    with st.form(f"run-{of}"):
        if not parameters:
            st.caption("This pipeline takes no parameters.")
        for one in parameters:
            key, start = f"p-{of}-{one.name}", before.get(one.name, one.default)
            label, about = f"{one.name} ({one.type.value})" + (" *" if one.required else ""), one.description or None
            if one.options:
                index = one.options.index(start) if isinstance(start, str) and start in one.options else None
                typed[one.name] = st.selectbox(label, one.options, index, key=key, help=about)
            elif one.type is ParameterType.BOOLEAN:
                typed[one.name] = st.selectbox(label, [True, False], _place(start), format_func=lambda v: str(v).lower(), key=key, help=about)
            elif one.type is ParameterType.INTEGER and _small(start):
                typed[one.name] = st.number_input(label, value=int(start) if isinstance(start, (int, float)) else None, step=1, key=key, help=about)
            elif one.type is ParameterType.NUMBER and _small(start):
                number = float(start) if isinstance(start, (int, float)) else None
                typed[one.name] = st.number_input(label, value=number, step=0.01, format="%g", key=key, help=about)
            else:
                text = "" if start is None else told(start)
                given = st.text_area(label, text, key=key, help=about, height="content", placeholder=_EXAMPLES.get(one.type, ""))
                file = None
                if one.type in FROM_FILES:
                    with st.expander(f"Fill {one.name} from a file"):
                        file = st.file_uploader("A text file; it counts instead of what is typed", key=f"{key}-file")
                texts[one.name] = (one, given or "", file)
        if any(one.required for one in parameters):
            st.caption("* has no default: it must be given.")
        within = st.text_input("Experiment (may be left empty)", experiment, key=f"experiment-{of}", placeholder="lower-case letters, digits, hyphens")
        if not st.form_submit_button("Start", type="primary", icon=":material/play_arrow:"):
            return None
    values = {name: value for name, value in typed.items() if value is not None}
    for name, (one, text, file) in texts.items():
        if file is not None:
            text = text_of(file)
        if text or (one.type is ParameterType.STRING and (one.default is not None or file is not None)):
            values[name] = read_parameter(one, text)
    return values, within.strip()


_EXAMPLES = {ParameterType.LIST: '["a", "b"]', ParameterType.STRUCT: '{"key": "value"}'}


def _place(start: Value) -> int | None:
    return None if not isinstance(start, bool) else 0 if start else 1


def _small(start: Value) -> bool:
    return not isinstance(start, (int, float)) or abs(start) <= SAFE_INTEGER
