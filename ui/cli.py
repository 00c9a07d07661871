"""The command line: what can be typed, and the one place where a command's error becomes a sentence and an exit code."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, get_args

from core.crash import arm
from core.errors import HearthError
from core.moving import Where
from core.settings import SERVICES, read_settings
from core.troubles import OnceAMinute
from core.users.model import Scope
from core.workflow.model import Engine
from ui import commands, running
from ui.errors import kind, sentence


def main(argv: list[str] | None = None) -> int:
    """Runs one command. The exit code is 0, or says what kind of error it was (sysexits.h)."""
    args = _parser().parse_args(argv)
    try:
        flags = {name: getattr(args, name, None) for name in ("home", "host", "port")}
        if args.command is commands.inference:
            flags = {"home": flags["home"], "inference_host": flags["host"], "inference_port": flags["port"]}
        elif args.command is commands.admin:
            flags = {"home": flags["home"], "host": flags["host"], "admin_port": flags["port"]}
        settings = read_settings(os.environ, **flags)
        told = logging.StreamHandler()
        told.addFilter(OnceAMinute())
        logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[told])
        arm(os.environ.get("HEARTH_CRASH", ""))
        result = args.command(settings, args)
        if asyncio.iscoroutine(result):
            return _run(result) or 0
    except HearthError as error:
        sys.stderr.write(f"hearth: {error.message}\n" + (f"        {error.hint}\n" if error.hint else ""))
        return kind(error)[2]
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the process's entry: a bug is told by a reference, its trace is in the log  # noqa: BLE001
        sys.stderr.write(f"hearth: {sentence(error)}\n")
        return 70
    return 0


def _run(command: Coroutine[Any, Any, int | None]) -> int | None:
    """With uvloop where it is there: the streams cost about half."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(command)
    code: int | None = uvloop.run(command)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hearth", description="A private AI workbench: ask your own documents and get cited answers.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, help="the folder that holds everything (HEARTH_HOME; ~/.hearth)")
    address = argparse.ArgumentParser(add_help=False)
    address.add_argument("--host", help="the address to listen on (HEARTH_HOST; 127.0.0.1)")
    address.add_argument("--port", type=int, help="the port to listen on (HEARTH_PORT; 8000)")
    sub = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: object, help_text: str, *, parents: tuple[argparse.ArgumentParser, ...] = ()) -> argparse.ArgumentParser:
        made = sub.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".", parents=[common, *parents])
        made.set_defaults(command=command)
        return made

    add("up", commands.up, "start Hearth: the pages, the API and the local models", parents=(address,))
    for role, what in (("web", "the pages and the API"), ("chat", "the chat page"), ("voice", "the voice page")):
        add(role, commands.serve_alone, f"start {what} as one of several processes over servers", parents=(address,)).set_defaults(role=role)
    add("worker", commands.worker, "take documents in and run pipelines as one of several processes over servers")
    add("admin", commands.admin, "start the console alone, beside a running Hearth or without one (HEARTH_ADMIN_PORT; 8001)", parents=(address,))
    add("inference", commands.inference, "start the model server alone, as on a GPU machine", parents=(address,))
    ingest = add("ingest", commands.ingest, "put files, folders and zip archives into a collection; safe to repeat")
    ingest.add_argument("--collection", required=True, metavar="NAME")
    ingest.add_argument("--user", metavar="NAME", help="whose collection; the only user if there is one")
    ingest.add_argument("--watch", action="store_true", help="keep looking, and take in what is new or has changed; nothing is removed by itself")
    ingest.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="with --watch: how often to look (5)")
    ingest.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    _add_pipelines(add)
    models = add("models", commands.models, "list the models, or fetch what the settings need")
    models.add_argument("action", nargs="?", choices=("list", "fetch"), default="list")
    models.add_argument("names", nargs="*", metavar="MODEL", help="with fetch: these, instead of what the settings need")
    models.add_argument("--service", choices=SERVICES, help="with fetch: what models of the hub are for, where no setting names them")
    user = add("user", commands.user, "list or change users")
    user.add_argument("action", choices=("list", "add", "password", "disable", "enable", "premium", "standard", "admin"))
    user.add_argument("name", nargs="?", metavar="NAME")
    user.add_argument("--admin", action="store_true", help="with add: an admin")
    user.add_argument("--premium", action="store_true", help="with add: their requests go first")
    user.add_argument("--no-password", action="store_true", help="with add: API keys only")
    token = add("token", commands.token, "make an API key; it is shown once")
    token.add_argument("--user", required=True, metavar="NAME")
    token.add_argument("--name", default="", help="what the key is for")
    token.add_argument("--scope", action="append", choices=[scope.value for scope in Scope], help="what it opens, once each; else everything")
    token.add_argument("--days", type=int, help="how many days it opens anything; for ever without it")
    settings = add("settings", commands.show_settings, "show every setting, its value and where it comes from")
    settings.add_argument("--markdown", action="store_true", help="as docs/settings.md has them")
    backup = add("backup", commands.backup, "write everything but models and sign-ins to one file; Hearth may run meanwhile")
    backup.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a new file; otherwise one in HEARTH_BACKUP_FOLDER, where the oldest are deleted")
    restored = add("restore", commands.restore, "make a new home folder of a backup; nothing is overwritten")
    restored.add_argument("file", type=Path, metavar="FILE")
    migrate = add("migrate", commands.migrate, "copy everything from the home folder to the servers of the settings, or back; safe to repeat")
    migrate.add_argument("--to", required=True, choices=get_args(Where), help="servers: from the home folder to them; home: back into the home folder")
    add("doctor", commands.doctor, "check everything Hearth needs, for real, and say what to do", parents=(address,))
    return parser


def _add_pipelines(add: Callable[..., argparse.ArgumentParser]) -> None:
    run = add("run", running.run, "run a pipeline and follow it to its end; the running Hearth runs it, or this command does")
    run.add_argument("pipeline", metavar="PIPELINE", help="a name for its latest version, or one like name@2")
    run.add_argument("parameters", nargs="*", metavar="KEY=VALUE", help="texts as they are, others as JSON writes them; KEY=@PATH gives the run that file")
    run.add_argument("--file", action="append", default=[], metavar="KEY=PATH", help="a parameter whose value is what the file holds")
    run.add_argument("--experiment", default="", metavar="NAME", help="the experiment that the run is compared in; it is made if it isn't there")
    run.add_argument("--no-cache", dest="cache", action="store_false", help="every step runs, also one whose outputs an earlier run of yours has made")
    run.add_argument("--user", metavar="NAME", help="in whose name; the only user if there is one")
    pipelines = add("pipelines", running.pipelines, "list the pipelines, or add a version")
    pipelines.add_argument("action", nargs="?", choices=("list", "add"), default="list")
    pipelines.add_argument("name", nargs="?", metavar="NAME")
    pipelines.add_argument("file", nargs="?", type=Path, metavar="FILE", help="with add: its definition in YAML")
    pipelines.add_argument("--engine", choices=[engine.value for engine in Engine], help="with add: whose language the definition is written in")
    pipelines.add_argument("--user", metavar="NAME", help="in whose name; the only user if there is one")


if __name__ == "__main__":
    sys.exit(main())
