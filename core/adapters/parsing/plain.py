"""Plain text and source code: one section; chunking finds the borders."""

import re
import unicodedata

from charset_normalizer import from_bytes

from core.adapters.parsing import Read
from core.errors import Unreadable
from core.rag.model import Section

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029\ufeff]")


def decoded(data: bytes, name: str) -> str:
    """The text in whatever encoding it is. Raises: Unreadable if it is none."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        best = from_bytes(data[:200_000]).best()
    if best is None:
        raise Unreadable(f"{name} is not text in any encoding that could be recognised.", hint="Save it as UTF-8.")
    return data.decode(best.encoding, "replace")


def clean(text: str) -> str:
    """Composed characters, line feeds only, no control characters (form feeds are page breaks and become empty lines)."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n"))
    # A lone surrogate can be stored nowhere.
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode()


def read(data: bytes, name: str) -> Read:
    """The whole file as one section."""
    return Read("", (Section(clean(decoded(data, name))),))
