"""A checkpointer for LangGraph.

::

    graph = builder.compile(checkpointer=S3DictSaver("agents", bucket="my-bucket"))
    graph.invoke(inputs, {"configurable": {"thread_id": "1"}})
"""

# LangGraph passes a configuration that has a thread id.
# pyright: reportTypedDictNotRequiredAccess=false

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
    writes_sort_key,
)

from .. import Dict
from ._options import DEFAULT_TTL, open_dict

__all__ = ["S3DictSaver"]

_Address = tuple[str, str, str]
"""The thread, namespace and id of a checkpoint: the key of its entry. Its writes are under one with "writes" added."""
_Index = Mapping[str, Sequence[str]]
"""The ids of a thread's checkpoints by namespace, under ``(thread_id,)``.

A checkpoint is written before it is entered in the index, so what the index names exists. Where a writer dies in
between, the step is repeated under another id, and the orphan expires with the Dict's ttl.
"""
_Writes = dict[tuple[str, int], tuple[str, tuple[str, bytes], str]]
"""Channel, value and task path by task and number."""


class S3DictSaver(BaseCheckpointSaver[int]):
    """Checkpoints in a Dict, sync and async.

    Requests: 3 to save a step, 2 to save writes, 3 to load the latest checkpoint of a thread, 1 and 2 for each
    checkpoint to list them.

    Args:
        name: The Dict's name.
        ttl: The Dict's ttl: a lifecycle rule deletes a thread that is not used for so long.
        serde: LangGraph's serializer.
        client_options: Arguments of `s3dict.Client`, or a `client`; without any, the environment names the client.
    """

    def __init__(
        self,
        name: str = "langgraph",
        *,
        ttl: float | timedelta | None = DEFAULT_TTL,
        serde: Any = None,
        **client_options: Any,
    ) -> None:
        super().__init__(serde=serde)
        self._dict: Dict[tuple[str, ...], Any] = open_dict(name, ttl=ttl, **client_options)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        address = _address(config) or _latest(config, self._dict.get(_thread(config), {}))
        return None if address is None else self._tuple(address, self._dict.get_many(_keys(address)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        address = _address(config) or _latest(config, await self._dict.get.aio(_thread(config), {}))
        return None if address is None else self._tuple(address, await self._dict.get_many.aio(_keys(address)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        threads = [_thread(config)] if config else [key for key in self._dict if len(key) == 1]
        left = _Limit(limit, filter)
        for address in _listed(self._dict.get_many(threads), config, before):
            if left.is_reached:
                return
            found = self._tuple(address, self._dict.get_many(_keys(address)))
            if found is not None and left.counts(found):
                yield found

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        threads = [_thread(config)] if config else [key async for key in self._dict.keys.aio() if len(key) == 1]
        left = _Limit(limit, filter)
        for address in _listed(await self._dict.get_many.aio(threads), config, before):
            if left.is_reached:
                return
            found = self._tuple(address, await self._dict.get_many.aio(_keys(address)))
            if found is not None and left.counts(found):
                yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        address, stored = self._stored(config, checkpoint, metadata)
        self._dict.put(address, stored)
        self._dict.modify(_thread(config), _adding_to_index(address), {})
        return _config(address)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        address, stored = self._stored(config, checkpoint, metadata)
        await self._dict.put.aio(address, stored)
        await self._dict.modify.aio(_thread(config), _adding_to_index(address), {})
        return _config(address)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        address = _address(config)
        assert address is not None
        self._dict.modify((*address, "writes"), self._adding_writes(writes, task_id, task_path), {})

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        address = _address(config)
        assert address is not None
        await self._dict.modify.aio((*address, "writes"), self._adding_writes(writes, task_id, task_path), {})

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread. Its keys are listed, so that what a writer left without entering it goes too."""
        self._dict.discard_many([key for key in self._dict if key[0] == thread_id])

    async def adelete_thread(self, thread_id: str) -> None:
        await self._dict.discard_many.aio([key async for key in self._dict.keys.aio() if key[0] == thread_id])

    def _stored(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> tuple[_Address, Any]:
        settings = config["configurable"]
        address = *_thread(config), settings.get("checkpoint_ns", ""), checkpoint["id"]
        parts = self.serde.dumps_typed(checkpoint), self.serde.dumps_typed(get_checkpoint_metadata(config, metadata))
        return address, (*parts, settings.get("checkpoint_id"))

    def _tuple(self, address: _Address, found: Mapping[tuple[str, ...], Any]) -> CheckpointTuple | None:
        if address not in found:
            return None
        checkpoint, metadata, parent = found[address]
        writes: _Writes = found.get((*address, "writes"), {})
        ordered = sorted(writes.items(), key=lambda item: writes_sort_key(item[1][2], *item[0]))
        return CheckpointTuple(
            config=_config(address),
            checkpoint=self.serde.loads_typed(checkpoint),
            metadata=self.serde.loads_typed(metadata),
            parent_config=_config((*address[:2], parent)) if parent else None,
            pending_writes=[(task, channel, self.serde.loads_typed(v)) for (task, _), (channel, v, _) in ordered],
        )

    def _adding_writes(
        self, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> Callable[[_Writes], _Writes]:
        """Return a function that adds the writes; a task that is repeated keeps its first ordinary ones."""
        added = {
            (task_id, WRITES_IDX_MAP.get(channel, number)): (channel, self.serde.dumps_typed(value), task_path)
            for number, (channel, value) in enumerate(writes)
        }

        def add(stored: _Writes) -> _Writes:
            return {**stored, **{key: value for key, value in added.items() if key[1] < 0 or key not in stored}}

        return add


class _Limit:
    """How many checkpoints of a listing are still wanted, and which."""

    def __init__(self, limit: int | None, wanted: Mapping[str, Any] | None) -> None:
        self._left = limit
        self._wanted = wanted or {}

    @property
    def is_reached(self) -> bool:
        return self._left is not None and self._left <= 0

    def counts(self, found: CheckpointTuple) -> bool:
        metadata: Mapping[str, Any] = {**found.metadata}
        if any(metadata.get(name) != value for name, value in self._wanted.items()):
            return False
        self._left = None if self._left is None else self._left - 1
        return True


def _thread(config: RunnableConfig) -> tuple[str]:
    # An int or UUID is the thread that `delete_thread` knows by its text.
    return (str(config["configurable"]["thread_id"]),)


def _address(config: RunnableConfig) -> _Address | None:
    checkpoint_id = get_checkpoint_id(config)
    return (*_thread(config), config["configurable"].get("checkpoint_ns", ""), checkpoint_id) if checkpoint_id else None


def _config(address: _Address) -> RunnableConfig:
    return {"configurable": dict(zip(("thread_id", "checkpoint_ns", "checkpoint_id"), address, strict=True))}


def _keys(address: _Address) -> list[tuple[str, ...]]:
    return [address, (*address, "writes")]


def _latest(config: RunnableConfig, index: _Index) -> _Address | None:
    namespace = config["configurable"].get("checkpoint_ns", "")
    return (*_thread(config), namespace, max(index[namespace])) if index.get(namespace) else None


def _listed(
    indexes: Mapping[tuple[str, ...], _Index], config: RunnableConfig | None, before: RunnableConfig | None
) -> list[_Address]:
    """Return the checkpoints of the threads, newest first."""
    namespace = config["configurable"].get("checkpoint_ns") if config else None
    only = get_checkpoint_id(config) if config else None
    end = get_checkpoint_id(before) if before else None
    return [
        (thread_id, space, checkpoint_id)
        for (thread_id,), index in indexes.items()
        for space, ids in index.items()
        if namespace in (None, space)
        for checkpoint_id in sorted(ids, reverse=True)
        if only in (None, checkpoint_id) and (end is None or checkpoint_id < end)
    ]


def _adding_to_index(address: _Address) -> Callable[[_Index], _Index]:
    _, namespace, checkpoint_id = address

    def add(index: _Index) -> _Index:
        ids = index.get(namespace, [])
        return index if checkpoint_id in ids else {**index, namespace: [*ids, checkpoint_id]}

    return add
