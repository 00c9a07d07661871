"""What a child process takes from itself before it touches a file. Imports nothing but the standard library: it runs before everything else."""

import resource
from contextlib import suppress


def limit(memory_mb: int, cpu_s: int) -> None:
    """Sets the limits of this process on memory, processor time and core dumps."""
    with suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS; the parent's clock still ends us
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
