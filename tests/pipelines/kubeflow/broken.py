"""The second of three steps fails."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def fine() -> str:
    """Goes through."""
    return "fine"


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def evaluate(of: str) -> str:
    """Fails."""
    raise ValueError(f"nothing to measure in {of}")


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def publish(what: str):
    """Is never reached."""
    print(what)


@dsl.pipeline(name="broken")
def broken():
    """Three in a row."""
    publish(what=evaluate(of=fine().output).output)
