"""Fixtures of the tests of sources."""

from collections.abc import Iterator

import pytest
from s3fs import S3FileSystem
from support.counting_proxy import CountingProxy, counting_proxy


@pytest.fixture
def counted(s3, s3_folder, monkeypatch) -> Iterator[CountingProxy]:
    """Let this process reach the S3 server through a proxy that counts the bytes of the answers."""
    with counting_proxy(s3.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        S3FileSystem.clear_instance_cache()
        yield proxy
