"""Modal's tests of modal.Dict over s3dict.Dict: the modules that they import are replaced by s3dict's names."""

import getpass
import socket
import sys
import types
import uuid

import pytest

import s3dict
from s3dict import Client


def _module(name, **attributes):
    sys.modules[name] = module = types.ModuleType(name)
    module.__dict__.update(attributes)


def _ephemeral(client, _heartbeat_sleep=None):
    return s3dict.Dict.ephemeral(client=client)


_dict = {name: getattr(s3dict.Dict, name) for name in ("from_name", "from_id", "objects")}
_module("modal", Dict=types.SimpleNamespace(**_dict, ephemeral=_ephemeral))
_module("modal._serialization", serialize=None)
_module("modal.exception", **{name: vars(s3dict.errors)[name] for name in s3dict.errors.__all__})
_module("modal_proto", api_pb2=None)


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv("S3DICT_PREFIX", f"modal-{uuid.uuid4()}")
    return Client.from_env()


@pytest.fixture
def servicer():
    return types.SimpleNamespace(default_username=f"{getpass.getuser()}@{socket.gethostname()}", deployed_dicts={})


from test_of_modal.dict_test import *  # noqa: E402, F403
