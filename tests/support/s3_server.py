"""A real S3 server, SeaweedFS, that checks signatures and has identities with different permissions."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from s3fs import S3FileSystem
from support.free_ports import free_ports

WEED = Path(sys.executable).with_name("weed")
PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
START_SECONDS = 120
BUCKET = "clipes"


@dataclass(frozen=True)
class Identity:
    """An access key with its secret and its permissions."""

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...]


# Tests must not run as ADMIN, because SeaweedFS creates a missing bucket when an admin writes a file to it.
ADMIN = Identity("admin", "AKIDADMIN3F7Q", "sk-admin-9dK2mVtYb4xR", ("Admin", "Read", "Write", "List", "Tagging"))
WRITER = Identity("writer", "AKIDWRITER5J2", "sk-writer-Lq8ZcN3wPe7T", ("Read", "Write", "List", "Tagging"))
READER = Identity("reader", "AKIDREADER8B1", "sk-reader-Hs6UyG1oXa5M", ("Read", "List"))
STRANGER = Identity("stranger", "AKIDSTRANGER4", "sk-stranger-Wf2BjD8iQv9K", ())
UNKNOWN = Identity("unknown", "AKIDUNKNOWN77", "sk-unknown-Tg5ErC7uMz3J", ())


class S3Server:
    """An S3 server that keeps its data and its ports when it is restarted.

    Args:
        folder: empty folder for the data of the server.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        ports = free_ports(2 * len(PORTS))
        self._ports = dict(zip([*PORTS, *(f"{name}.grpc" for name in PORTS)], ports, strict=True))
        self.url = f"http://127.0.0.1:{self._ports['s3.port']}"
        known = [ADMIN, WRITER, READER, STRANGER]
        identities = [
            {
                "name": each.name,
                "credentials": [{"accessKey": each.access_key, "secretKey": each.secret_key}],
                "actions": list(each.actions),
            }
            for each in known
        ]
        (folder / "identities.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()

    def start(self) -> None:
        """Start the server, and wait until it accepts files."""
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 0,
            "s3.config": self._folder / "identities.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": self._folder / "filer.sock",
            "s3.localSocket": self._folder / "s3.sock",
            **self._ports,
        }
        arguments = [f"-{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen([WEED, "server", "-s3", *arguments], stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self._takes_files():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the S3 server did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server; a regular shutdown takes half a minute."""
        self._process.kill()
        self._process.wait()

    def make_bucket(self, name: str) -> None:
        """Create a bucket."""
        self.files().mkdir(name)

    def files(self) -> S3FileSystem:
        """Return a file system with an admin's access to all buckets."""
        return S3FileSystem(
            key=ADMIN.access_key,
            secret=ADMIN.secret_key,
            endpoint_url=self.url,
            use_listings_cache=False,
        )

    def environment(self, identity: Identity = WRITER) -> dict[str, str]:
        """Return variables that give botocore the server and the identity, and hide the settings of this machine."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_CONFIG_FILE": str(self._folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self._folder / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _takes_files(self) -> bool:
        fs = S3FileSystem(
            key=ADMIN.access_key,
            secret=ADMIN.secret_key,
            endpoint_url=self.url,
            config_kwargs={"retries": {"total_max_attempts": 1}},
        )
        try:
            fs.pipe_file("started/file", b"1")
        except Exception:  # not ready: the port is closed, or a part of the server waits for another part
            return False
        return True


def write_marker(server: S3Server, folder: str) -> None:
    """Write the empty object with which some tools mark a folder of a bucket."""
    bucket, _, key = folder.removeprefix("s3://").partition("/")
    server.files().call_s3("put_object", Bucket=bucket, Key=f"{key}/", Body=b"")
