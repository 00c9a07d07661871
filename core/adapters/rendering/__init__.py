"""Pictures of a PDF's pages. Runs only in the child process that `page_renderer_child` starts: nothing here but this file may be imported elsewhere.

The job comes as JSON on standard input. The answer is one line of JSON, and after it the picture's bytes if there is one.
"""

import msgspec


class Job(msgspec.Struct):
    """What to draw: a page with its marks, or with number None only the sizes of all pages."""

    path: str
    name: str
    number: int | None = None
    passage: str = ""
    quote: str = ""
    width_px: int = 0


class Told(msgspec.Struct, omit_defaults=True):
    """The line before the picture."""

    width_px: int = 0
    height_px: int = 0
    marked: bool = False
    sizes: tuple[tuple[float, float], ...] = ()
    error: str = ""
    message: str = ""
    hint: str = ""
