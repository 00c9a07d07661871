"""A step that says a great deal, and one that forks, forks again, and leaves its group and its session."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def flood(megabytes: int):
    """So much output."""
    import os

    print("the beginning", flush=True)
    piece = (b"x" * 99 + b"\n") * 10_000
    for _ in range(megabytes):
        os.write(1, piece)
    print("the end", flush=True)


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def daemonise():
    """Leaves a process behind as daemons do."""
    import os
    import time

    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for descriptor in range(3):
                os.close(descriptor)
            time.sleep(600)
        os._exit(0)
    os.wait()


@dsl.pipeline(name="rude")
def rude(megabytes: int = 50):
    """Both."""
    flood(megabytes=megabytes)
    daemonise()
