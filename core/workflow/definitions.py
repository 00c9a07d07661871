"""Reading a definition: YAML without its dangers, and complaints that name the place."""

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from core.errors import BadInput

MAX_DEPTH = 60
MAX_NODES = 50_000
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def documents(text: str) -> list[Any]:
    """The documents of a YAML text as plain values; empty ones are left out. Nothing is made of it but dicts, lists, texts, numbers, booleans and dates.

    Raises: BadInput for text that is no YAML, and for what YAML can do that a pipeline needs not: aliases (of which a few lines can stand for gigabytes), keys
    that come twice, and depths and numbers of values that nobody writes by hand.
    """
    try:
        _demand_small(yaml.parse(text, _Loader))
        nodes = list(yaml.compose_all(text, _Loader))
        for node in nodes:
            _demand_single_keys(node)
        values = [yaml.constructor.SafeConstructor().construct_document(node) for node in nodes]
        return [value for value in values if value is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadInput(f"The definition is no YAML{where}: {error.problem or error.context}.", hint="Mend it there and send it again.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadInput(f"The definition is no YAML: {str(error)[:200]}", hint="Send text in UTF-8.") from error


def _demand_small(events: Iterable[Any]) -> None:
    depth = count = 0
    for event in events:
        count += 1
        if isinstance(event, yaml.AliasEvent):
            raise refused(f"line {event.start_mark.line + 1}", "an alias", "Write out what it stands for: a few aliases can stand for gigabytes.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > MAX_NODES:
            what = f"more than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            raise refused(f"line {event.start_mark.line + 1}", what, "A pipeline is smaller than that.")


def _demand_single_keys(node: Any) -> None:
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here, yaml.MappingNode):
            seen = set()
            for key, value in here.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else None
                if name is not None and name in seen:
                    raise refused(f"line {key.start_mark.line + 1}", f"the key {name!r} for the second time", "Keep one of them.")
                seen.add(name)
                waiting.append(value)
        elif isinstance(here, yaml.SequenceNode):
            waiting += here.value


def refused(where: str, what: str, then: str) -> BadInput:
    """The complaint about one place of a definition. where: a path like spec.templates[0].script, or a line.   then: what to do, as a sentence."""
    return BadInput(f"The definition can't be taken: {where} has {what}.", hint=then)


def demand_keys(value: Any, allowed: Sequence[str], where: str) -> dict[str, Any]:
    """The mapping, if it has no other keys. Raises: BadInput naming the first other one by its path."""
    if not isinstance(value, dict):
        raise refused(where or "the document", "no fields", "It has to be a mapping.")
    for key in value:
        if key not in allowed:
            at = f"{where}.{key}" if where else str(key)
            raise BadInput(f"{at} is not taken.", hint=f"What may stand there: {', '.join(allowed)}.")
    return value
