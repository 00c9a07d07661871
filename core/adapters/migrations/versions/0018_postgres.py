"""What SQLite has had from the first tables on, for PostgreSQL: the full text of passages, and the triggers that guard what must not change."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# The words of a passage that is searched; none while it isn't. The title counts most, then the heading.
STATEMENTS = (
    """ALTER TABLE chunks ADD COLUMN words tsvector GENERATED ALWAYS AS (CASE WHEN live > 0 THEN
        setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', heading), 'B') || to_tsvector('english', content)
        END) STORED""",
    "CREATE INDEX ix_chunks_words ON chunks USING gin (words)",
    """CREATE FUNCTION refuse_the_change() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    """CREATE TRIGGER message_never_changes BEFORE UPDATE ON messages FOR EACH ROW WHEN (old.status <> 'generating')
        EXECUTE FUNCTION refuse_the_change('a message never changes once created')""",
    """CREATE TRIGGER live_chunk_keeps_its_text BEFORE UPDATE OF scope, title, heading, content ON chunks FOR EACH ROW
        WHEN (old.live > 0 AND (old.scope, old.title, old.heading, old.content) IS DISTINCT FROM (new.scope, new.title, new.heading, new.content))
        EXECUTE FUNCTION refuse_the_change('a live chunk does not change')""",
)


def upgrade() -> None:
    """Nothing where the database is SQLite."""
    if op.get_bind().dialect.name == "postgresql":
        for statement in STATEMENTS:
            op.execute(statement)
