"""LangGraph's conformance tests for checkpointers over S3DictSaver."""

import asyncio
import uuid

import pytest
from langgraph.checkpoint.conformance import validate
from langgraph.checkpoint.conformance.initializer import RegisteredCheckpointer

from s3dict.integrations.langgraph import S3DictSaver

CAPABILITIES = ("put", "put_writes", "get_tuple", "list", "delete_thread")


async def _saver():
    yield S3DictSaver(f"langgraph-{uuid.uuid4().hex}")


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_conformance(capability, record_property):
    registered = RegisteredCheckpointer("s3dict", _saver)
    report = asyncio.run(validate(registered, capabilities={capability}))
    result = report.results[capability]
    record_property("tests", result.tests_passed + result.tests_failed)
    assert result.failures == []
    assert result.tests_passed > 0
