"""Django's cache tests over S3DictCache."""

import os

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        DATABASES={name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for name in ("default", "other")},
        INSTALLED_APPS=["cache"],
        SECRET_KEY="not a secret",
        USE_TZ=False,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()

import pytest
from cache.tests import BaseCacheTests, caches_setting_for_tests
from django.test import TestCase, override_settings
from django.test.utils import setup_databases, setup_test_environment, teardown_databases, teardown_test_environment


@pytest.fixture(scope="session", autouse=True)
def _databases():
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(databases, verbosity=0)
    teardown_test_environment()


@override_settings(
    CACHES=caches_setting_for_tests(BACKEND="s3dict.integrations.django.S3DictCache", LOCATION=f"django-{os.getpid()}")
)
class TestS3DictCache(BaseCacheTests, TestCase):
    pass
