"""Twenty at once, as far as they go."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def square(n: int) -> int:
    """Times itself."""
    return n * n


@dsl.pipeline(name="fan")
def fan():
    """Twenty of one."""
    with dsl.ParallelFor(list(range(20))) as n:
        square(n=n)
