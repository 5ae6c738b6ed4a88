"""Every store passes the contract that users can subclass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s3dict import Client
from s3dict._stores.base import ObjectStore
from tests.stores.contract import AsyncStoreContract, StoreContract


class _Own:
    """Stores of the client that the test has for itself."""

    @pytest.fixture
    def backend(self) -> str:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _place(self, client: Client) -> None:
        self.prefix = f"{client.prefix}/contract/"


class _Blocking(_Own, StoreContract):
    @pytest.fixture
    def make_store(self, client: Client) -> Callable[[], ObjectStore]:
        return lambda: client._store(aio=False)


class _Asyncio(_Own, AsyncStoreContract):
    @pytest.fixture
    def make_store(self, client: Client) -> Callable[[], ObjectStore]:
        return lambda: client._store(aio=True)


class _OnMemory:
    @pytest.fixture
    def backend(self) -> str:
        return "memory"


@pytest.mark.slow
class _OnMoto:
    copies_on_condition = False

    @pytest.fixture
    def backend(self) -> str:
        return "moto"


@pytest.mark.slow
class _OnSeaweedFS:
    @pytest.fixture
    def backend(self) -> str:
        return "seaweedfs"


@pytest.mark.slow
class _RustOnMoto:
    copies_on_condition = False

    @pytest.fixture
    def backend(self) -> str:
        return "moto-rust"


@pytest.mark.slow
class _RustOnSeaweedFS:
    @pytest.fixture
    def backend(self) -> str:
        return "seaweedfs-rust"


@pytest.mark.slow
class _ThreadsOnSeaweedFS:
    @pytest.fixture
    def backend(self) -> str:
        return "seaweedfs-threads"


class TestMemoryStore(_OnMemory, _Blocking):
    pass


class TestAsyncMemoryStore(_OnMemory, _Asyncio):
    pass


class TestBotoStoreOnMoto(_OnMoto, _Blocking):
    pass


class TestAioBotoStoreOnMoto(_OnMoto, _Asyncio):
    pass


class TestBotoStoreOnSeaweedFS(_OnSeaweedFS, _Blocking):
    pass


class TestAioBotoStoreOnSeaweedFS(_OnSeaweedFS, _Asyncio):
    pass


class TestRustStoreOnMoto(_RustOnMoto, _Blocking):
    pass


class TestAsyncRustStoreOnMoto(_RustOnMoto, _Asyncio):
    pass


class TestRustStoreOnSeaweedFS(_RustOnSeaweedFS, _Blocking):
    pass


class TestAsyncRustStoreOnSeaweedFS(_RustOnSeaweedFS, _Asyncio):
    pass


class TestThreadedBotoStoreOnSeaweedFS(_ThreadsOnSeaweedFS, _Asyncio):
    pass
