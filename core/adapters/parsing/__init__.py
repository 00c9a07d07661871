"""Reading files, one module per format. Runs only in the child process that `parser_child` starts: nothing here may be imported by the web process.

Each reader is `read(data: bytes, name: str) -> Read` and raises Unreadable with a sentence; limits on time and memory are set around it.
"""

from dataclasses import dataclass

from core.rag.model import Section

MAX_TEXT_CHARS = 20_000_000


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader found: the document's own title ("" if it has none) and its sections."""

    title: str
    sections: tuple[Section, ...]


READERS = {
    "application/pdf": "core.adapters.parsing.pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "core.adapters.parsing.docx_file",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "core.adapters.parsing.pptx_file",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "core.adapters.parsing.xlsx_file",
    "application/epub+zip": "core.adapters.parsing.epub",
    "message/rfc822": "core.adapters.parsing.eml",
    "text/csv": "core.adapters.parsing.csv_file",
    "text/tab-separated-values": "core.adapters.parsing.csv_file",
    "image/png": "core.adapters.parsing.picture",
    "image/jpeg": "core.adapters.parsing.picture",
    "image/gif": "core.adapters.parsing.picture",
    "image/tiff": "core.adapters.parsing.picture",
    "image/webp": "core.adapters.parsing.picture",
    "text/html": "core.adapters.parsing.html_page",
    "text/markdown": "core.adapters.parsing.markdown",
    "text/x-python": "core.adapters.parsing.python_source",
    "text/x-source": "core.adapters.parsing.plain",
    "text/plain": "core.adapters.parsing.plain",
}
