"""A loop, conditions with a value that quotes, and a handler that runs at the end whatever happens."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def double(n: int) -> int:
    """Twice it."""
    print(f"doubling {n}")
    return 2 * n


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def total(numbers: list) -> int:
    """The sum, as a whole number."""
    return int(sum(numbers))


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def name(word: str) -> str:
    """The word itself."""
    return word


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def say(what: str) -> str:
    """Passes it on."""
    print(what)
    return what


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def last(status: dsl.PipelineTaskFinalStatus) -> str:
    """How it went."""
    return status.state


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def fails_if(wanted: bool):
    """Fails on demand."""
    if wanted:
        raise RuntimeError("as wanted")


@dsl.pipeline(name="flow")
def flow(word: str = "it's", numbers: list = [1, 2, 3], fail: bool = False):  # noqa: B006
    """All of it."""
    with dsl.ExitHandler(last()):
        with dsl.ParallelFor(numbers) as n:
            doubled = double(n=n)
        summed = total(numbers=dsl.Collected(doubled.output))
        named = name(word=word)
        with dsl.If(named.output == "yes"):
            say(what="yes").set_display_name("say so")
        with dsl.Elif(summed.output > 100):
            say(what="large")
        with dsl.Else():
            say(what="neither")
        fails_if(wanted=fail)
