"""The house as several processes, over real servers and models without weights that are a process too."""

from contextlib import contextmanager

import servers
from running_house import MODELS, RunningHouse


class Part(RunningHouse):
    """One of them, on a home folder of its own. `command`: web, chat, voice or worker."""

    def __init__(self, command, home, **given):
        super().__init__(home, **given)
        self.command = (command,) if command == "worker" else (command, "--port", "0")
        self.says = r"A (worker) of Hearth is at work" if command == "worker" else super().says


class Inference(RunningHouse):
    """`hearth inference`."""

    command = ("inference", "--port", "0")
    says = r"The model server is at (\S+)"


class Spread:
    """Servers that all parts reach, and the parts."""

    def __init__(self, folder, settings):
        self.folder, self.settings = folder, settings

    def part(self, command, **given):
        """A further one; `with` starts and ends it."""
        return Part(command, self.folder / f"{command}-{len(list(self.folder.iterdir()))}", **self.settings | given)


@contextmanager
def spread(folder):
    """PostgreSQL 18, moto and the models."""
    with servers.postgres_18() as records, servers.s3_moto() as objects, Inference(folder / "inference") as inference:
        settings = {"HEARTH_RECORDS_URL": records.url, "HEARTH_OBJECTS_URL": objects.url}
        settings |= {f"HEARTH_{service}_URL": f"{inference.url}#{model}" for service, model in MODELS.items() if service != "VAD"}
        house = Spread(folder, settings)
        house.records, house.objects, house.inference = records, objects, inference
        yield house
