"""The form of a run, made from the parameters that its definition declares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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
        raise BadInput(f"The file {file.name[:80]!r} is no text in UTF-8.", hint="Choose a text file, or give the file itself.") from None


@dataclass(frozen=True, slots=True)
class Sent:
    """What a run is to start with. files: those that are given as they are, by parameter."""

    values: dict[str, Value]
    files: dict[str, UploadedFile]
    experiment: str


def run_form(of: str, parameters: tuple[Parameter, ...], before: Mapping[str, Value], experiment: str) -> Sent | None:
    """Draws the form; once it is sent, what to start with.

    of: what the form belongs to, so that another one's input isn't kept in it.   before: the values that it begins with, where they aren't the defaults.
    Raises: BadInput for a value that is none of its type.
    """
    files: dict[str, UploadedFile] = {}
    with st.form(f"run-{of}"):
        read = fields(of, parameters, before, files)
        within = experiment_field(of, experiment)
        if not st.form_submit_button("Start", type="primary", icon=":material/play_arrow:"):
            return None
    return Sent(read(), files, within.strip())


def experiment_field(of: str, experiment: str) -> str:
    """Draws the field of an experiment's name."""
    return st.text_input("Experiment (may be left empty)", experiment, key=f"experiment-{of}", placeholder="lower-case letters, digits, hyphens")


def fields(
    of: str, parameters: Sequence[Parameter], before: Mapping[str, Value], files: dict[str, UploadedFile] | None = None
) -> Callable[[], dict[str, Value]]:
    """Draws a field for each parameter, inside of a form; gives what reads them once it is sent. What is left empty isn't among the values.

    of, before: as of `run_form`.   files: gets those that are to be given as they are, once it is read; None where none can be.
    What reads them raises: BadInput for a value that is none of its type.
    """
    if not parameters:
        st.caption("This pipeline takes no parameters.")
    drawn = {one.name: _field(one, f"p-{of}-{one.name}", before.get(one.name, one.default), files) for one in parameters}
    if any(one.required for one in parameters):
        st.caption("* has no default: it must be given.")

    def read() -> dict[str, Value]:
        values = {name: field() for name, field in drawn.items()}
        return {name: value for name, value in values.items() if value is not None}

    return read


def _field(one: Parameter, key: str, start: Value, files: dict[str, UploadedFile] | None) -> Callable[[], Value]:
    """Draws the field of a parameter; gives what reads it once the form is sent: None for one that is left empty."""
    label, about = f"{one.name} ({one.type.value})" + (" *" if one.required else ""), one.description or None
    number = start if isinstance(start, (int, float)) and not isinstance(start, bool) else None
    chosen: Value
    if one.options:
        index = one.options.index(start) if isinstance(start, str) and start in one.options else None
        chosen = st.selectbox(label, one.options, index, key=key, help=about)
    elif one.type is ParameterType.BOOLEAN:
        place = [True, False].index(start) if isinstance(start, bool) else None
        chosen = st.selectbox(label, [True, False], place, format_func=lambda v: str(v).lower(), key=key, help=about)
    elif one.type is ParameterType.INTEGER and abs(number or 0) <= SAFE_INTEGER:
        chosen = st.number_input(label, value=None if number is None else int(number), step=1, key=key, help=about)
    elif one.type is ParameterType.NUMBER:
        chosen = st.number_input(label, value=None if number is None else float(number), step=0.01, format="%g", key=key, help=about)
    else:
        return _written(one, key, start, label, files)
    return lambda: chosen


def _written(one: Parameter, key: str, start: Value, label: str, files: dict[str, UploadedFile] | None) -> Callable[[], Value]:
    """A field for text, or for JSON as text; a file may fill it. One for text may be given any file, whose address is its value then."""
    typed = st.text_area(
        label, "" if start is None else told(start), key=key, help=one.description or None, height="content", placeholder=_EXAMPLES.get(one.type, "")
    )
    file, whole = None, False
    if one.type in FROM_FILES:
        with st.expander(f"Fill {one.name} from a file"):
            file = st.file_uploader("It counts instead of what is typed", key=f"{key}-file")
            if one.type is ParameterType.STRING and files is not None:
                whole = st.toggle(
                    "Give the file itself, of whatever kind",
                    key=f"{key}-whole",
                    help="It is kept with the run, and the value is its address. Otherwise its text is the value.",
                )

    def read() -> Value:
        if file is not None and whole and files is not None:
            files[one.name] = file
            return None
        text = text_of(file) if file is not None else typed or ""
        meant = text or (one.type is ParameterType.STRING and (one.default is not None or file is not None))
        return read_parameter(one, text) if meant else None

    return read


_EXAMPLES = {ParameterType.LIST: '["a", "b"]', ParameterType.STRUCT: '{"key": "value"}'}
