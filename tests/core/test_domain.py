"""The entities and invariants of the domain, each as a claim."""

from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.model import ChatMessage, Conversation, MessageContent, MessageMetadata, MessageStatus
from core.errors import BadInput, HearthError, IllegalStep, NoSpeech, Unreadable, WrongShape
from core.events import CHAT_ORDER, VOICE_ORDER, EventType
from core.ids import chunk_id, is_id, new_id, reply_id
from core.inference import Embedding, EmbeddingVector, InferenceRequest, InferenceResponse, Service
from core.rag.model import Chunk, ChunkMetadata, Collection, Document, RAGContext, RAGQuery, RAGResult
from core.users.model import Preferences, Session, User
from core.voice.containers import wav
from core.voice.model import AudioChunk, AudioData, AudioFormat, SynthesizedAudio, Transcription, VoiceRequest, VoiceResponse, form_of

# As domain.md has them; more fields may stand beside these, none may be missing.
ENTITIES = {
    User: "id username premium preferences created_at",
    Preferences: "voice_id model_preference enable_rag",
    Session: "id user_id type started_at last_activity metadata",
    Conversation: "id user_id messages title created_at updated_at",
    ChatMessage: "id session_id user_id role content created_at metadata",
    MessageMetadata: "tokens_used latency_ms rag_sources model_used",
    InferenceRequest: "id service input parameters priority",
    InferenceResponse: "id request_id output metadata",
    Document: "id collection title content source_url ingested_at",
    Chunk: "id document_id content embedding metadata",
    ChunkMetadata: "position page",
    RAGQuery: "query collection top_k rerank rerank_top_k",
    RAGResult: "chunks scores reranked",
    MessageContent: "text tokens",
    EmbeddingVector: "values model dimensions",
    RAGContext: "chunks scores query",
    Embedding: "chunk_id vector",
    VoiceRequest: "id user_id audio_b64 format language premium enable_rag",
    VoiceResponse: "id request_id transcription response_text audio_b64 audio_format latency_ms rag_docs_used",
    AudioData: "data format duration_ms sample_rate",
    AudioChunk: "sequence data sample_rate",
    Transcription: "text language",
    SynthesizedAudio: "text audio",
}


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda e: e.__name__)
def test_every_entity_has_the_fields_of_the_domain_and_can_not_be_changed(entity):
    there = [f.name for f in fields(entity)]
    assert set(ENTITIES[entity].split()) <= set(there)
    assert entity.__dataclass_params__.frozen
    blank = object.__new__(entity)
    with pytest.raises((FrozenInstanceError, AttributeError)):
        setattr(blank, there[0], "changed")


def test_a_query_returns_five_reranks_and_keeps_three_unless_told_otherwise():
    query = RAGQuery("q", "c")
    assert (query.top_k, query.rerank, query.rerank_top_k) == (5, True, 3)


def test_the_five_services_are_those_of_the_domain():
    assert {s.value for s in Service} == {"llm", "stt", "tts", "embeddings", "reranker"}


def test_the_events_of_a_chat_are_those_of_the_domain_in_its_order():
    names = "UserLogin SessionCreated MessageReceived RAGQueryExecuted InferenceRequested ResponseGenerated MessageStored"
    assert " ".join(CHAT_ORDER) == names
    assert all(isinstance(e, EventType) for e in CHAT_ORDER)


def test_the_events_of_a_spoken_turn_are_those_of_the_domain_in_its_order():
    heard = "VoiceRequestReceived TranscriptionStarted TranscriptionCompleted RAGQueryExecuted"
    said = "LLMInferenceStarted LLMResponseGenerated TTSSynthesisStarted AudioResponseReady"
    assert " ".join(VOICE_ORDER) == f"{heard} {said}"


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_transcription_is_never_empty(text):
    with pytest.raises(NoSpeech, match="understood no word"):
        Transcription(text)


def test_the_sound_of_a_turn_is_wav_webm_or_mp3_and_its_bytes_are_what_they_are_said_to_be():
    assert set(AudioFormat) == {"wav", "webm", "mp3"}
    with pytest.raises(BadInput, match="flac"):
        AudioFormat.named("flac")
    with pytest.raises(BadInput, match="flac"):
        form_of(b"fLaC", "flac")
    sound = wav(b"\0\0", 16_000)
    assert AudioData(sound, AudioFormat.WAV).data == sound
    for data, wanted in ((sound, AudioFormat.MP3), (b"", AudioFormat.WAV), (b"#EXTM3U\nhttp://x", AudioFormat.WEBM), (b"OggS" + bytes(60), AudioFormat.WEBM)):
        with pytest.raises(Unreadable):
            AudioData(data, wanted)


@pytest.mark.parametrize("first", MessageStatus)
@pytest.mark.parametrize("then", MessageStatus)
def test_a_message_goes_from_generating_to_one_final_state_and_no_further(first, then):
    if first is MessageStatus.GENERATING and then is not MessageStatus.GENERATING:
        assert first.to(then) is then
    else:
        with pytest.raises(IllegalStep):
            first.to(then)


@given(st.lists(st.floats(-1, 1), max_size=8), st.integers(0, 8))
def test_a_vector_has_the_dimensions_its_model_promises(values, dimensions):
    if len(values) == dimensions:
        assert EmbeddingVector(tuple(values), "m", dimensions).dimensions == dimensions
    else:
        with pytest.raises(ValueError, match="dimensions"):
            EmbeddingVector(tuple(values), "m", dimensions)


def test_a_collection_takes_vectors_of_its_own_size_and_model_only():
    collection = Collection("id", "owner", "lab", "bge-large", 1024, "structure-1/700", None)
    collection.check(1024, "bge-large")
    with pytest.raises(WrongShape, match="1024"):
        collection.check(384, "bge-large")
    with pytest.raises(HearthError, match="bge-large"):
        collection.check(1024, "another")


def test_ids_are_uuids_that_sort_by_time_and_derived_ones_repeat():
    made = [new_id() for _ in range(200)]
    assert made == sorted(made)
    assert len(set(made)) == 200
    assert all(is_id(i) for i in made)
    assert chunk_id("d", 1, 2) == chunk_id("d", 1, 2) != chunk_id("d", 2, 1)
    assert reply_id("m") == reply_id("m") != reply_id("n")
    assert not is_id(made[0].upper())
