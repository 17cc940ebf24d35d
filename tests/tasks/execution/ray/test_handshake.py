"""What a worker finds out about its machine in the handshake; no cluster runs."""

from dataclasses import replace

import pytest
from support.free_ports import free_ports

from clipes.tasks.execution.ray.handshake import HandshakeRequest, host_facts, readable_photo
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.storage.retry_policy import RetryPolicy
from clipes_core.errors import TransientError


def test_a_worker_tells_whether_its_problem_is_temporary(tmp_path, monkeypatch):
    request = HandshakeRequest(None, str(tmp_path / "missing"), str(tmp_path / "answer"))
    assert not host_facts(request).temporary
    monkeypatch.setattr("clipes.tasks.execution.ray.handshake.ONE_MINUTE", RetryPolicy(1, 0, 0))

    def fail(uri):
        raise TransientError("no answer")

    monkeypatch.setattr("clipes.tasks.execution.ray.handshake.read_file", fail)
    facts = host_facts(request)
    assert (facts.problem, facts.temporary) == ("no answer", True)


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
    facts = host_facts(HandshakeRequest(None, photo=photo))
    assert not facts.temporary
    assert facts.problem.startswith(f"it cannot open a photo of the run ({photo.uri} ")


def test_a_server_of_photos_that_does_not_answer_refuses_no_machine(impatient):
    (port,) = free_ports(1)
    uri = f"http://127.0.0.1:{port}/photo.png"
    facts = host_facts(
        HandshakeRequest(None, photo=Photo("photo", f"http://127.0.0.1:{port}/photo.png", 1, "1-1", (1,)))
    )
    assert facts.temporary
    assert uri in facts.problem
