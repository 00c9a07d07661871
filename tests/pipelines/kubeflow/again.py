"""A step that fails the first time, and the same work twice with caching on."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def flaky(counter: str) -> str:
    """Succeeds at the second attempt: it counts in a file beside its folder."""
    import pathlib

    seen = pathlib.Path(counter)
    tries = int(seen.read_text()) + 1 if seen.exists() else 1
    seen.write_text(str(tries))
    print(f"try {tries}")
    if tries < 2:
        raise OSError("not yet")
    return f"after {tries}"


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def when() -> str:
    """Another answer each time."""
    import uuid

    return str(uuid.uuid4())


@dsl.pipeline(name="again")
def again(counter: str):
    """One that is retried, and two that would be one with a cache."""
    flaky(counter=counter).set_retry(num_retries=3, backoff_duration="0s")
    when().set_caching_options(True)
    when().set_caching_options(True)
