"""As the compiler writes it by itself: the step would install the kfp that it was compiled with."""

from kfp import dsl


@dsl.component(base_image="python:3.12")
def greet():
    """Says something."""
    print("hello")


@dsl.pipeline(name="pinned")
def pinned():
    """Only that."""
    greet()
