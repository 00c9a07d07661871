"""Drawing a page, with the passage in a light and the quote in a strong colour, as with a highlighter: the text under it stays black."""

import io
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as raw
from PIL import Image, ImageChops, ImageDraw

from core.adapters.pdf_file import opened
from core.adapters.rendering import Job, Told
from core.adapters.rendering.marking import Box, Span, keyed, spans, strips
from core.errors import NotFound, Unreadable

MAX_PIXELS = 12_000_000
MAX_SIGNS = 200_000
"""Of one page; nobody marks a passage on a page with more."""
MAX_PAGES = 5_000
PASSAGE, QUOTE = (255, 244, 194), (255, 208, 92)


def sizes(path: str, name: str) -> tuple[tuple[float, float], ...]:
    """Width and height of every page in points. Raises: Unreadable."""
    document = opened(Path(path), name)
    try:
        return tuple(document.get_page_size(n) for n in range(min(len(document), MAX_PAGES)))
    finally:
        document.close()


def drawn(job: Job) -> tuple[Told, bytes]:
    """The page as a PNG. Raises: NotFound for a page that isn't there; Unreadable for one that is broken."""
    document = opened(Path(job.path), job.name)
    number, pages = job.number or 0, len(document)
    if not 1 <= number <= pages:
        raise NotFound(f"{job.name} has no page {number}.", hint="It has 1 page." if pages == 1 else f"It has {pages} pages, counted from 1.")
    try:
        page = document[number - 1]
        width, height = page.get_size()
        if width <= 0 or height <= 0:
            raise Unreadable(f"Page {number} of {job.name} has no size.", hint="Open the original instead.")
        scale = min((job.width_px - 0.01) / width, (MAX_PIXELS / (width * height)) ** 0.5)
        bitmap = page.render(scale=scale, may_draw_forms=False)
    except pdfium.PdfiumError as error:
        raise Unreadable(f"Page {number} of {job.name} is broken.", hint="Open the original instead.") from error
    picture = bitmap.to_pil().convert("RGB")
    marked = _mark(picture, page, bitmap.get_posconv(page), job) if job.passage or job.quote else False
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=4)
    return Told(picture.width, picture.height, marked), out.getvalue()


def _mark(picture: Image.Image, page: pdfium.PdfPage, places: pdfium.PdfPosConv, job: Job) -> bool:
    """Marks what is found of the passage, and the quote in it; says whether the quote (without one: the passage) was."""
    try:
        text = page.get_textpage()
    except pdfium.PdfiumError:
        return False
    signs = keyed([raw.FPDFText_GetUnicode(text, n) for n in range(min(text.count_chars(), MAX_SIGNS))])
    passage = spans(signs, job.passage)
    quote = spans(signs, job.quote, passage)
    for found, colour in ((passage, PASSAGE), (quote, QUOTE)):
        if found:
            _colour(picture, [box for span in found for box in strips(_boxes(text, places, span))], colour)
    return bool(quote if job.quote else passage)


def _boxes(text: pdfium.PdfTextPage, places: pdfium.PdfPosConv, span: Span) -> list[Box]:
    """The boxes of the signs that can be seen, in pixels."""
    boxes: list[Box] = []
    for n in range(*span):
        left, bottom, right, top = text.get_charbox(n, loose=True)
        if right - left <= 0 or top - bottom <= 0 or chr(raw.FPDFText_GetUnicode(text, n)).isspace():
            continue
        (x0, y0), (x1, y1) = places.to_bitmap(left, top), places.to_bitmap(right, bottom)
        boxes.append((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    return boxes


def _colour(picture: Image.Image, boxes: list[Box], colour: tuple[int, int, int]) -> None:
    mask = Image.new("L", picture.size, 0)
    pen = ImageDraw.Draw(mask)
    for left, top, right, bottom in boxes:
        pen.rounded_rectangle((left - 2, top - 1, right + 2, bottom + 1), radius=3, fill=255)
    picture.paste(ImageChops.multiply(picture, Image.new("RGB", picture.size, colour)), mask=mask)
