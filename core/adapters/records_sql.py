"""Every store that lies in the records, over one database."""

from dataclasses import dataclass

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.audit_sql import SqlAuditLog
from core.adapters.belongings_sql import SqlBelongings
from core.adapters.chunk_index_sql import SqliteChunkIndex
from core.adapters.collection_ledger_sql import SqlCollectionLedger
from core.adapters.conversations_sql import SqlConversations, record_message
from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.adapters.events_outbox import OutboxEventLog
from core.adapters.golden_sql import SqlGoldenSets
from core.adapters.prompts_sql import SqlPrompts
from core.adapters.sessions_sql import SqlSessions
from core.adapters.shares_sql import SqlShares
from core.adapters.sweeps_sql import SqlSweeps
from core.adapters.talks_sql import SqlTalks
from core.adapters.traffic_sql import SqlTraffic
from core.adapters.usage_sql import SqlUsage
from core.adapters.voice_sql import SqlSpokenTurns
from core.events import EventType


@dataclass(frozen=True, slots=True)
class Records:
    """The stores, by the port that each of them is."""

    accounts: SqlAccounts
    audit: SqlAuditLog
    belongings: SqlBelongings
    index: SqliteChunkIndex
    ledger: SqlCollectionLedger
    conversations: SqlConversations
    documents: SqlDocuments
    events: OutboxEventLog
    golden: SqlGoldenSets
    prompts: SqlPrompts
    sessions: SqlSessions
    shares: SqlShares
    sweeps: SqlSweeps
    talks: SqlTalks
    traffic: SqlTraffic
    usage: SqlUsage
    spoken: SqlSpokenTurns

    @classmethod
    def of(cls, database: SqliteDatabase) -> "Records":
        """All of them over one database."""
        return cls(
            accounts=SqlAccounts(database),
            audit=SqlAuditLog(database),
            belongings=SqlBelongings(database),
            index=SqliteChunkIndex(database),
            ledger=SqlCollectionLedger(database),
            conversations=SqlConversations(database),
            documents=SqlDocuments(database),
            events=OutboxEventLog(database, {EventType.MESSAGE_STORED: record_message}),
            golden=SqlGoldenSets(database),
            prompts=SqlPrompts(database),
            sessions=SqlSessions(database),
            shares=SqlShares(database),
            sweeps=SqlSweeps(database),
            talks=SqlTalks(database),
            traffic=SqlTraffic(database),
            usage=SqlUsage(database),
            spoken=SqlSpokenTurns(database),
        )
