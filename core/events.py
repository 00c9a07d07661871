"""What happened, in the words of the domain; every event is durable before anybody acts on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class EventType(StrEnum):
    """Every event there is, in the past tense."""

    USER_LOGIN = "UserLogin"
    SESSION_CREATED = "SessionCreated"
    MESSAGE_RECEIVED = "MessageReceived"
    RAG_QUERY_EXECUTED = "RAGQueryExecuted"
    INFERENCE_REQUESTED = "InferenceRequested"
    RESPONSE_GENERATED = "ResponseGenerated"
    MESSAGE_STORED = "MessageStored"
    VOICE_REQUEST_RECEIVED = "VoiceRequestReceived"
    TRANSCRIPTION_STARTED = "TranscriptionStarted"
    TRANSCRIPTION_COMPLETED = "TranscriptionCompleted"
    LLM_INFERENCE_STARTED = "LLMInferenceStarted"
    LLM_RESPONSE_GENERATED = "LLMResponseGenerated"
    TTS_SYNTHESIS_STARTED = "TTSSynthesisStarted"
    AUDIO_RESPONSE_READY = "AudioResponseReady"
    PIPELINE_TRIGGER_RECEIVED = "PipelineTriggerReceived"
    PIPELINE_RUN_CREATED = "PipelineRunCreated"
    STEP_STARTED = "StepStarted"
    STEP_COMPLETED = "StepCompleted"
    ARTIFACT_PRODUCED = "ArtifactProduced"
    PIPELINE_RUN_COMPLETED = "PipelineRunCompleted"


CHAT_ORDER = (
    EventType.USER_LOGIN,
    EventType.SESSION_CREATED,
    EventType.MESSAGE_RECEIVED,
    EventType.RAG_QUERY_EXECUTED,
    EventType.INFERENCE_REQUESTED,
    EventType.RESPONSE_GENERATED,
    EventType.MESSAGE_STORED,
)
"""The order inside one chat turn; RAGQueryExecuted only when documents are on."""

VOICE_ORDER = (
    EventType.VOICE_REQUEST_RECEIVED,
    EventType.TRANSCRIPTION_STARTED,
    EventType.TRANSCRIPTION_COMPLETED,
    EventType.RAG_QUERY_EXECUTED,
    EventType.LLM_INFERENCE_STARTED,
    EventType.LLM_RESPONSE_GENERATED,
    EventType.TTS_SYNTHESIS_STARTED,
    EventType.AUDIO_RESPONSE_READY,
)
"""The order inside one spoken turn, of which the chat turn inside it has its own; RAGQueryExecuted only when documents are on."""

WORKFLOW_ORDER = (
    EventType.PIPELINE_TRIGGER_RECEIVED,
    EventType.PIPELINE_RUN_CREATED,
    EventType.STEP_STARTED,
    EventType.STEP_COMPLETED,
    EventType.ARTIFACT_PRODUCED,
    EventType.PIPELINE_RUN_COMPLETED,
)
"""The order inside one run; the three of steps come again for each step, and steps that run at once are told between one another."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `aggregate_id` is what it happened to (a conversation, a session); `data` is JSON."""

    id: str
    type: EventType
    user_id: str
    aggregate_id: str
    at: datetime
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event at its place in the log; `seq` grows by at least one from event to event."""

    seq: int
    event: Event


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event whose effect was given up after so many attempts, each of which ended in an error; it waits for somebody to try it again."""

    seq: int
    event: Event
    attempts: int
    error: str
    dead_at: datetime
