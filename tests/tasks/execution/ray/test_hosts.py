"""What stores that fail and photos that change do to the handshake with machines; no cluster runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from clipes.tasks.execution.ray import hosts as module
from clipes.tasks.execution.ray.handshake import HostFacts, host_facts, host_versions
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import Node, WorkerRequest
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.storage.listing import fingerprint_of_stat
from clipes.tasks.storage.retry_policy import RetryPolicy
from clipes_core.errors import StorageError, TransientError

REQUEST = WorkerRequest("cpu", 1, 0, 1, 1, networks=False, fixed=True)
NODE = Node("id", "second", 1, 0, 1 << 30)
THIRD = replace(NODE, node_id="third", name="third")


@pytest.fixture
def hosts(photos, tmp_path, monkeypatch):
    """Return the machines of a run, of which there is one."""
    monkeypatch.setattr(module, "known_nodes", lambda: [NODE])
    return Hosts(photos.config(store=str(tmp_path / "store")), probes=True)


def test_a_temporary_problem_of_a_worker_refuses_no_machine(hosts):
    hosts.look()
    with pytest.raises(TransientError, match=r"^no answer$"):
        hosts.suits("id", HostFacts(host_versions(), problem="no answer", temporary=True), REQUEST)
    hosts.check()
    assert not hosts.suits("id", HostFacts(host_versions(), problem="no weights"), REQUEST)
    assert hosts.selector() == {"ray.io/node-id": "!in(id)"}


def test_a_temporary_problem_of_this_process_refuses_no_machine(hosts, monkeypatch):
    def fail(uri):
        raise TransientError("no answer")

    with hosts.probing():
        monkeypatch.setattr(module, "find_file", fail)
        monkeypatch.setattr(module, "ONE_MINUTE", RetryPolicy(1, 0, 0))
        with pytest.raises(TransientError, match=r"^no answer$"):
            hosts.suits("id", HostFacts(host_versions()), REQUEST)
    assert hosts.selector() == {}


def test_a_store_that_fails_at_the_end_hides_no_result(hosts, monkeypatch, caplog):
    def fail(uri):
        raise StorageError(f"{uri}: no permission")

    monkeypatch.setattr(module, "remove", fail)
    with hosts.probing():
        pass
    assert len([each for each in caplog.messages if "stays in it until `clipes gc` removes it" in each]) == 2


def test_a_store_that_fails_while_a_machine_joins_is_logged(hosts, monkeypatch, caplog):
    def fail(uri):
        raise TransientError("no answer")

    monkeypatch.setattr(module, "find_file", fail)
    assert hosts.look() == [NODE]
    assert "cannot look for the answer of the machine second yet: no answer" in caplog.messages


@pytest.fixture
def two_photos(tmp_path):
    """Return two photos in a folder of their own."""
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in paths:
        path.write_bytes(b"photo")
    return [Photo(path.stem, str(path), 5, fingerprint_of_stat(path.stat()), (1,)) for path in paths]


@pytest.fixture
def joined(photos, two_photos, tmp_path, monkeypatch):
    """Return the machines of a run with two photos, of which `second` suits the run, and `third` has joined."""
    monkeypatch.setattr(module, "known_nodes", lambda: [NODE, THIRD])
    found = Hosts(photos.config(store=str(tmp_path / "store")), probes=True, photos=two_photos)
    with found.probing():
        assert found.suits("id", host_facts(found.handshake_request(NODE, REQUEST)), REQUEST)
        found.accept_late = True
        yield found


def change(path):
    """Overwrite a file."""
    path.write_bytes(b"other photo")


@pytest.mark.parametrize("spoil", [change, Path.unlink])
def test_a_photo_that_changes_or_disappears_during_the_run_refuses_no_machine(joined, two_photos, spoil):
    for photo in two_photos:
        late = joined.handshake_request(THIRD, REQUEST)
        assert late.photo == photo
        spoil(Path(photo.uri))
        assert joined.suits("id", host_facts(joined.handshake_request(NODE, REQUEST)), REQUEST)  # a worker starts again
        for _ in range(2):  # two workers of the machine answer
            with pytest.raises(
                TransientError, match=f"^{photo.uri}, which it was to open, has changed or disappeared$"
            ):
                joined.suits("third", host_facts(late), REQUEST)
    assert joined.suits("third", host_facts(joined.handshake_request(THIRD, REQUEST)), REQUEST)
    assert joined.selector() == {}


def test_a_machine_that_joins_and_cannot_open_a_photo_that_is_still_there_is_refused(joined, two_photos):
    photo = Path(two_photos[0].uri)
    hidden = photo.rename(photo.with_suffix(".hidden"))
    facts = host_facts(joined.handshake_request(THIRD, REQUEST))
    hidden.rename(photo)
    assert not joined.suits("third", facts, REQUEST)
    assert f"it cannot open a photo of the run ({photo} does not exist)" in joined.refusal("third")
    assert joined.selector() == {"ray.io/node-id": "!in(third)"}
