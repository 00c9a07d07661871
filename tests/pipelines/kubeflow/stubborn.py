"""A step that ignores being asked to end, and leaves another process behind that has left its group."""

from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def hold():
    """Holds on."""
    import signal
    import subprocess
    import sys
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", ignores], start_new_session=True)
    print("holding", flush=True)
    time.sleep(600)


@dsl.pipeline(name="stubborn")
def stubborn():
    """Only that."""
    hold()
