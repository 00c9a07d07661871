"""Every store that lies in the records, over one database."""

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.audit_sql import SqlAuditLog
from core.adapters.belongings_sql import SqlBelongings
from core.adapters.chunk_index_sql import row_index
from core.adapters.collection_ledger_sql import SqlCollectionLedger
from core.adapters.conversations_sql import SqlConversations, record_message
from core.adapters.database_sql import Database
from core.adapters.documents_sql import SqlDocuments
from core.adapters.events_outbox import OutboxEventLog
from core.adapters.golden_sql import SqlGoldenSets
from core.adapters.processes_sql import SqlProcesses
from core.adapters.prompts_sql import SqlPrompts
from core.adapters.sessions_sql import SqlSessions
from core.adapters.shares_sql import SqlShares
from core.adapters.sweeps_sql import SqlSweeps
from core.adapters.talks_sql import SqlTalks
from core.adapters.traffic_sql import SqlTraffic
from core.adapters.usage_sql import SqlUsage
from core.adapters.versions_sql import SqlCollectionVersions
from core.adapters.voice_sql import SqlSpokenTurns
from core.adapters.workflows_sql import SqlWorkflows, receive_trigger
from core.events import EventType

EFFECTS = {EventType.MESSAGE_STORED: record_message, EventType.PIPELINE_TRIGGER_RECEIVED: receive_trigger}
"""What the recorder does for which event of another program."""


class Records:
    """The stores, by the port that each of them is."""

    def __init__(self, database: Database, holder: str = "") -> None:
        """holder: the process that takes work through them; "" for one that only looks."""
        self.accounts = SqlAccounts(database)
        self.audit = SqlAuditLog(database)
        self.belongings = SqlBelongings(database)
        self.conversations = SqlConversations(database, holder)
        self.documents = SqlDocuments(database, holder)
        self.events = OutboxEventLog(database, EFFECTS)
        self.golden = SqlGoldenSets(database)
        self.index = row_index(database)
        self.ledger = SqlCollectionLedger(database)
        self.processes = SqlProcesses(database)
        self.prompts = SqlPrompts(database)
        self.sessions = SqlSessions(database)
        self.shares = SqlShares(database)
        self.spoken = SqlSpokenTurns(database)
        self.sweeps = SqlSweeps(database)
        self.talks = SqlTalks(database)
        self.traffic = SqlTraffic(database)
        self.usage = SqlUsage(database)
        self.versions = SqlCollectionVersions(database, holder)
        self.workflows = SqlWorkflows(database, holder)
