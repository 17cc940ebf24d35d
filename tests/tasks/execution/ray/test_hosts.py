"""What a store that fails does to the handshake with machines; no cluster runs."""

import pytest

from clipes.tasks.execution.ray import hosts as module
from clipes.tasks.execution.ray.handshake import HostFacts, host_versions
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import Node, WorkerRequest
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
