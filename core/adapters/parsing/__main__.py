"""The child process: limits itself, reads one file, and writes what it found as JSON to standard output.

`python -m core.adapters.parsing PATH NAME MEMORY_MB CPU_S MAX_BYTES`. Whatever goes wrong here goes wrong here only.
"""

import os
import sys
from importlib import import_module
from pathlib import Path, PurePath

from core.adapters.child_limits import limit


def main() -> int:
    """0 with a result on standard output: the document, or the sentence why it can't be read."""
    path, name, memory_mb, cpu_s, max_bytes = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    limit(memory_mb, cpu_s)

    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no part of the answer

    # After the limits, because libraries are the ones that need them.
    import msgspec

    from core.adapters.parsing import MAX_TEXT_CHARS, READERS
    from core.adapters.parsing.kinds import kind_of
    from core.errors import BadInput, TooLong, Unreadable
    from core.rag.model import ParsedDocument

    try:
        data = Path(path).read_bytes()
        if len(data) > max_bytes:
            raise TooLong(f"{name} has {len(data) / 1e6:.0f} MB; at most {max_bytes / 1e6:.0f} MB are read.", hint="Split it.")
        media_type = kind_of(data, name)
        read = import_module(READERS[media_type]).read(data, name)
        if sum(len(s.text) for s in read.sections) > MAX_TEXT_CHARS:
            raise TooLong(f"{name} has more than {MAX_TEXT_CHARS:,} characters.", hint="Split it.")
        if not any(s.text.strip() for s in read.sections):
            raise Unreadable(f"{name} has no text.", hint="Check that it is the file you meant.")
        result: dict[str, object] = {"document": ParsedDocument(read.title or PurePath(name).stem, media_type, read.sections)}
    except BadInput as error:
        result = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except (MemoryError, RecursionError):
        result = {"error": "TooLong", "message": f"{name} needs more memory to read than is allowed.", "hint": "Split it, or raise HEARTH_PARSE_MEMORY_MB."}
    with answer:
        answer.write(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
