"""Runs the migrations. A database that is already up to date is left alone without loading alembic."""

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from core.errors import ServiceUnavailable

HEAD = "0020"


def current(engine: Engine) -> str | None:
    """The revision the database is at; None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(engine: Engine) -> None:
    """From whatever is there to HEAD, each revision in one transaction. Raises: ServiceUnavailable for a database of a newer Hearth."""
    revision = current(engine)
    if revision == HEAD:
        return
    if revision is not None and revision > HEAD:
        raise ServiceUnavailable(
            f"The database is of a newer Hearth (revision {revision}; this one knows {HEAD}).",
            service="records",
            hint="Update Hearth, or point HEARTH_HOME at another folder.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["engine"] = engine
    command.upgrade(config, HEAD)
