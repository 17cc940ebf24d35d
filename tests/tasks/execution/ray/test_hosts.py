"""What a store that fails does to the greeting of machines; no cluster runs."""

from dataclasses import replace

import pytest
from support.free_ports import free_ports

from clipes.tasks.execution.ray import hosts as module
from clipes.tasks.execution.ray.greeting import Greeting, HostFacts, host_facts, host_versions, readable_photo
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import Node, WorkerRequest
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.runs.preparation import list_photos
from clipes.tasks.storage.retry_policy import RetryPolicy
from clipes_core.errors import StorageError, TransientError

REQUEST = WorkerRequest("cpu", 1, 0, 1, 1, networks=False, fixed=True)
NODE = Node("id", "second", 1, 0, 1 << 30)


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


def test_a_worker_tells_whether_its_problem_is_temporary(tmp_path, monkeypatch):
    greeting = Greeting(None, str(tmp_path / "missing"), str(tmp_path / "answer"))
    assert not host_facts(greeting).temporary
    monkeypatch.setattr("clipes.tasks.execution.ray.greeting.ONE_MINUTE", RetryPolicy(1, 0, 0))

    def fail(uri):
        raise TransientError("no answer")

    monkeypatch.setattr("clipes.tasks.execution.ray.greeting.read_file", fail)
    facts = host_facts(greeting)
    assert (facts.problem, facts.temporary) == ("no answer", True)


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


def test_a_photo_that_no_machine_can_open_refuses_no_machine(photos, tmp_path, caplog):
    listed = list_photos(photos.config()).photos
    missing = [replace(photo, uri=str(tmp_path / photo.image_id)) for photo in listed[:3]]
    assert readable_photo([*missing[:2], *listed]) == listed[0]
    assert readable_photo(()) is None
    assert caplog.messages == []
    assert readable_photo([*missing, *listed]) is None
    told = "clipes does not check whether all machines reach the photos: it cannot open one"
    assert caplog.messages == [f"{told} ({missing[0].uri} does not exist)"]


@pytest.mark.parametrize("change", [{"uri": "/missing/photo.png"}, {"fingerprint": "1-1"}])
def test_a_machine_that_sees_other_photos_is_refused_with_the_uri(photos, change):
    photo = replace(list_photos(photos.config()).photos[0], **change)
    facts = host_facts(Greeting(None, photo=photo))
    assert not facts.temporary
    assert facts.problem.startswith(f"it cannot open a photo of the run ({photo.uri} ")


def test_a_server_of_photos_that_does_not_answer_refuses_no_machine(impatient):
    (port,) = free_ports(1)
    facts = host_facts(Greeting(None, photo=Photo("photo", f"http://127.0.0.1:{port}/photo.png", 1, "1-1", (1,))))
    assert facts.temporary
    assert f"http://127.0.0.1:{port}/photo.png" in facts.problem
