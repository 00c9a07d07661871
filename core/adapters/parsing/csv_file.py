"""Comma- and tab-separated values, with whatever separator the file uses."""

import csv
import io

from core.adapters.parsing import Read
from core.adapters.parsing.plain import clean, decoded
from core.adapters.parsing.table import section_of
from core.rag.model import Section

SAMPLE_CHARS = 64_000
MAX_CELL_CHARS = 1_000_000


def read(data: bytes, name: str) -> Read:
    """The rows as one section; a file that is no table after all is read as plain text."""
    text = clean(decoded(data, name))
    csv.field_size_limit(MAX_CELL_CHARS)
    try:
        kind: type[csv.Dialect] | str = csv.Sniffer().sniff(text[:SAMPLE_CHARS], ",;\t|")
    except csv.Error:
        kind = "excel-tab" if name.lower().endswith(".tsv") else "excel"
    try:
        return Read("", (section_of(csv.reader(io.StringIO(text, newline=""), kind), "", name),))
    except csv.Error:
        return Read("", (Section(text),))
