"""Conditions and loops at the top, over parameters, over what a step returns, over objects, and in one another."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def say(what: str) -> str:
    """Passes it on."""
    return what


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def count() -> int:
    """Three."""
    return 3


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def names() -> list:
    """Two of them."""
    return ["x", "y"]


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def pair(text: str, number: int) -> str:
    """Both."""
    return f"{text}{number}"


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def join(parts: list) -> str:
    """All in one."""
    return "+".join(parts)


@dsl.pipeline(name="choose")
def choose(mode: str = "quick", least: int = 2, words: list = ["a", "b"]):  # noqa: B006
    """Decides, and goes round."""
    counted = count()
    with dsl.If(mode == "quick"):
        say(what="quick")
    with dsl.If(mode == "quick"):
        say(what="quick again")
    with dsl.If(mode == "slow"):
        say(what="slow")
    with dsl.If(counted.output >= least):
        say(what="enough")
    with dsl.ParallelFor(words) as word, dsl.If(word == "a"):
        say(what=word)
    with dsl.ParallelFor(names().output) as name:
        paired = pair(text=name, number=counted.output)
    join(parts=dsl.Collected(paired.output))
    with dsl.ParallelFor([{"of": "left", "n": 1}, {"of": "right", "n": 2}]) as one:
        say(what=one.of)
        with dsl.ParallelFor(["in", "out"]) as way, dsl.If(way == "in"):
            join(parts=[way, one.of])
