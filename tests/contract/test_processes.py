"""The contract of Processes, and what the stores make of a process that is gone."""

from datetime import timedelta

import pytest
from conftest import NOW
from test_conversations import a_turn
from test_documents import a_collection, add
from test_workflows import a_run, define

from core.adapters.conversations_sql import SqlConversations
from core.adapters.documents_sql import SqlDocuments
from core.adapters.processes_sql import SqlProcesses
from core.adapters.versions_sql import SqlCollectionVersions
from core.adapters.workflows_sql import SqlWorkflows
from core.ids import new_id
from core.processes import Duty, Process, Role
from core.workflow.model import RunStatus
