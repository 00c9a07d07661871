"""The console as a part of the web application."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.types import ASGIApp

from core.app import App
from ui.admin.bridge import opened

SCRIPT = Path(__file__).with_name("app.py")


def mounted(app: App, *, rooms: bool) -> tuple[ASGIApp, AbstractAsyncContextManager[None]]:
    """The application, and what it lives in: to be entered before the first request, in the event loop of the house.

    rooms: whether the chat and voice pages are served beside it.
    """
    pages = st.App(SCRIPT)
    lifespan = pages.lifespan()

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        async with opened(app, rooms=rooms), lifespan(pages):
            yield

    return pages, life()
