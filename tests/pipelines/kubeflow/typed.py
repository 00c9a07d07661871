"""Parameters of all six types, one without a default, one that may be left out; and what a step sees of its environment."""

from typing import Optional

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def show(a_text: str, a_count: int, a_share: float, a_flag: bool, a_list: list, a_struct: dict, an_extra: Optional[str] = None) -> str:  # noqa: UP045
    """All of them as JSON."""
    import json

    return json.dumps([a_text, a_count, a_share, a_flag, a_list, a_struct, an_extra])


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def environment() -> dict:
    """Its variables, and its descriptors."""
    import os

    return {"variables": dict(os.environ), "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd"))}


@dsl.pipeline(name="typed", description="Shows what it is given.")
def typed(
    a_text: str,
    a_count: int = 8,
    a_share: float = 0.5,
    a_flag: bool = True,
    a_list: list = ["x", {"y": False}],  # noqa: B006
    a_struct: dict = {"k": [1.5]},  # noqa: B006
    an_extra: Optional[str] = None,  # noqa: UP045
):
    """Two steps, of which the second has a request that does nothing here.

    Args:
        a_text: Any text.
    """
    show(a_text=a_text, a_count=a_count, a_share=a_share, a_flag=a_flag, a_list=a_list, a_struct=a_struct, an_extra=an_extra)
    environment().set_cpu_limit("2").set_memory_limit("1G").set_env_variable("MODE", "quiet")
