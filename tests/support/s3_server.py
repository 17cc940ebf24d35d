"""A real S3 server with signature checks: SeaweedFS, with identities of different rights."""

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
    """Who asks: an access key, its secret, and what it may do."""

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...]


# Not ADMIN for the runs of tests: to a server of SeaweedFS an admin's first file is reason to make its bucket.
ADMIN = Identity("admin", "AKIDADMIN3F7Q", "sk-admin-9dK2mVtYb4xR", ("Admin", "Read", "Write", "List", "Tagging"))
WRITER = Identity("writer", "AKIDWRITER5J2", "sk-writer-Lq8ZcN3wPe7T", ("Read", "Write", "List", "Tagging"))
READER = Identity("reader", "AKIDREADER8B1", "sk-reader-Hs6UyG1oXa5M", ("Read", "List"))
STRANGER = Identity("stranger", "AKIDSTRANGER4", "sk-stranger-Wf2BjD8iQv9K", ())
UNKNOWN = Identity("unknown", "AKIDUNKNOWN77", "sk-unknown-Tg5ErC7uMz3J", ())


class S3Server:
    """The server, its data and its ports, which it keeps when it is started again.

    Args:
        folder: an empty one for its data.
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
        """Start it, and wait until it takes files."""
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
        """End it as a crash does; in order it takes half a minute."""
        self._process.kill()
        self._process.wait()

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self.files().mkdir(name)

    def files(self) -> S3FileSystem:
        """All that it holds, as its admin sees it."""
        return S3FileSystem(
            key=ADMIN.access_key,
            secret=ADMIN.secret_key,
            endpoint_url=self.url,
            use_listings_cache=False,
        )

    def environment(self, identity: Identity = WRITER) -> dict[str, str]:
        """The variables by which botocore finds the server and who asks, and nothing of the machine's own."""
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
        except Exception:  # not yet: refused, or by one of its parts that waits for another
            return False
        return True
