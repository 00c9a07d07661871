"""What stands inside of the texts of an Argo definition: `{{variables}}`, conditions, and values as Argo writes them."""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from core.errors import BadInput
from core.workflow.definitions import refused

MAX_TEXT_CHARS = 1 << 20
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_OPERAND = r"""('[^'\\]*'|"[^"\\]*"|[A-Za-z_][A-Za-z0-9_]*|-?[0-9]+(?:\.[0-9]+)?)"""
_CONDITION = re.compile(rf"\s*{_OPERAND}\s*(==|!=|<=|>=|<|>)\s*{_OPERAND}\s*")
_CONTROL = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")
_LIKE_A_DATE = re.compile(r"[0-9]{4}-[0-9]{2}|[0-9]{1,2}:[0-9]{2}|[A-Z][a-z]{2} ")


def tags(text: str) -> list[str]:
    """The names between `{{` and `}}`, in their order."""
    return [name.strip() for name in _TAG.findall(text)]


def demand_known(text: str, known: Callable[[str], bool], where: str) -> None:
    """Raises: BadInput if the text names a variable that there isn't, holds an expression, or opens one without an end."""
    for name in tags(text):
        if name.startswith("="):
            raise refused(where, "an expression, {{=…}}", "Expressions need a cluster: compute it in a script.")
        if not known(name):
            raise refused(where, f"{{{{{name[:80]}}}}}, which has no value there", "Name an input, a workflow parameter or the output of a task before it.")
    if "{{" in _TAG.sub("", text):
        raise refused(where, "a {{ without its }}", "Argo reads what follows {{ as a variable: close it, or write the braces apart.")


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables replaced, once: what a value holds is never read as a variable.

    Raises: BadInput for one that has no value, and for a huge text.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1].strip()
        if name not in values:
            raise BadInput(f"{{{{{name}}}}} has no value: the step that makes it was skipped, or the item has no such field.")
        if _CONTROL.search(values[name]):
            raise BadInput(f"{{{{{name}}}}} holds a control character, which Argo can't pass on.", hint="Pass such text in a file, as an artifact.")
        return values[name]

    made = _TAG.sub(value, text)
    if len(made) > MAX_TEXT_CHARS:
        raise BadInput(f"With its variables a text grew to {len(made):,} characters; {MAX_TEXT_CHARS:,} are the most.", hint="Pass a file as an artifact.")
    return made


def demand_condition(text: str, where: str) -> None:
    """Raises: BadInput for a `when` that is no comparison of two values."""
    if _CONDITION.fullmatch(_TAG.sub("x", text)) is None:
        raise refused(where, f"{text[:80]!r}, which is no comparison of two values", "Write one of == != < <= > >= between them; more needs a cluster.")


def holds(text: str) -> bool:
    """Whether a condition is true once its variables are replaced.

    As in Argo bare words are texts, numbers compare as numbers, and == of different kinds is false.

    Raises: BadInput for what is no comparison then, or one of values that have no order.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise BadInput(f"The condition {text[:200]!r} is no comparison of two values.", hint="Put values that are no single word between quotes.")
    left, right = _operand(found[1]), _operand(found[3])
    if found[2] in ("==", "!="):
        return ((type(left), left) == (type(right), right)) is (found[2] == "==")
    if isinstance(left, str) and isinstance(right, str):
        order = (left > right) - (left < right)
    elif isinstance(left, float) and isinstance(right, float):
        order = (left > right) - (left < right)
    else:
        raise BadInput(f"The condition {text[:200]!r} compares values that have no order.", hint="Compare two numbers or two texts.")
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[found[2]]


def _operand(text: str) -> str | float | bool:
    if text[0] in "'\"":
        if _LIKE_A_DATE.match(text[1:]):
            raise BadInput(f"The condition compares {text[:80]}, which Argo would read as a time.", hint="Compare something else.")
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    if text.lower() == "in":
        raise BadInput("The condition has the word `in`, which Argo reads as an operator.", hint="Put it between quotes.")
    return text if text[0].isalpha() or text[0] == "_" else float(text)


def plain(value: Any) -> str | None:
    """A value of YAML or JSON as Argo writes it into a text; None for what it can't be sure of: nothing, a time, a number that has several spellings."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        return text if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) else None
    if isinstance(value, dict | list) and _is_json(value):
        return as_json(value)
    return None


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or plain(value) is not None


def as_json(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=float)


def read_json(text: str) -> Any:
    """JSON whose numbers keep their spelling. Raises: ValueError."""
    return json.loads(text, parse_float=Decimal, parse_constant=_no_number)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def items_of(text: str) -> list[Any]:
    """The items of a `withParam`. Raises: BadInput for what is no JSON list of values."""
    try:
        found = read_json(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or any(plain(item) is None for item in found):
        raise BadInput(f"withParam is no JSON list: {text[:80]!r}.", hint="Let the script print a list as JSON, and nothing else.")
    return found


def item_values(item: Any) -> dict[str, str]:
    """What `{{item}}` and `{{item.key}}` stand for. Fields that are null have no value."""
    inner = item.items() if isinstance(item, dict) else ()
    values = {f"item.{key}": text for key, value in inner if (text := plain(value)) is not None}
    return {"item": plain(item) or "", **values}


def item_name(task: str, index: int, item: Any) -> str:
    """The name of a loop's step, `embed(0:a)`, as Argo gives it: without parentheses inside; long ones are cut, and slashes become _."""
    inner = ",".join(sorted(f"{key}:{plain(value)}" for key, value in item.items())) if isinstance(item, dict) else plain(item) or ""
    clean = "".join(c if c.isprintable() and c != "/" else "_" for c in inner if c not in "()")
    return f"{task}({index}:{clean[:40]})"


def aggregated(values: list[str]) -> str:
    """A loop's output parameters as one: a JSON list of texts; of what they hold if every one is itself a JSON list or object."""
    try:
        read = [read_json(value) for value in values]
    except (ValueError, RecursionError):
        return as_json(values)
    return as_json(read if all(isinstance(one, dict | list) for one in read) else values)


def aggregated_results(values: list[str]) -> str:
    """A loop's results as one JSON list. Raises: BadInput for one that is no JSON: Argo can't put it in a list either."""
    try:
        return as_json([read_json(value) for value in values])
    except (ValueError, RecursionError):
        raise BadInput("The results of a loop are no JSON, which a list needs.", hint="Let the script print JSON: a text between quotes.") from None
