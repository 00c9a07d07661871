"""The child process: limits itself, draws one page, and writes it to standard output. `python -m core.adapters.rendering MEMORY_MB CPU_S`."""

import sys

from core.adapters.child_limits import limit


def main() -> int:
    """0 with an answer on standard output: the picture, or the sentence why there is none."""
    limit(int(sys.argv[1]), int(sys.argv[2]))

    # After the limits, because libraries are the ones that need them.
    import msgspec

    from core.adapters.rendering import Job, Told
    from core.adapters.rendering.pages import drawn, sizes
    from core.errors import HearthError

    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    png = b""
    try:
        if job.number is None:
            told = Told(sizes=sizes(job.path, job.name))
        else:
            told, png = drawn(job)
    except HearthError as error:
        told = Told(error=type(error).__name__, message=error.message, hint=error.hint)
    except MemoryError:
        told = Told(error="TooLong", message=f"A page of {job.name} needs more memory to draw than is allowed.", hint="Open the original instead.")
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n" + png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
