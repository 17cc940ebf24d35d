import platform
import sys
from importlib.metadata import version

import pytest
import torch
from prefect.settings import PREFECT_API_URL, temporary_settings
from s3fs import S3FileSystem
from support.s3_server import READER

from clipes.tasks.commands import doctor
from clipes.tasks.commands.doctor import examine
from clipes.tasks.commands.finding import Finding
from clipes.tasks.machine.devices import cores
from clipes_core.config.pseudo_masks import ClipConfig


@pytest.fixture(autouse=True)
def no_server():
    """Unset PREFECT_API_URL in every test."""
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


@pytest.fixture
def found(tmp_path, seeded_weights):
    """Return a function that checks a store and weights and returns the finding for each check."""

    def found(store=tmp_path / "store", pretrained=seeded_weights):
        return {finding.what: finding for finding in examine(str(store), ClipConfig(pretrained=str(pretrained)))}

    return found


def test_all_checks_pass_with_a_store_and_weights(found):
    findings = found()

    assert all(finding.works for finding in findings.values())
    assert findings["python"].detail == platform.python_version()
    assert findings["clipes"].detail == "0.1.0"
    assert {"torch", "prefect", "devices", "weights", "server", "store"} <= findings.keys()


def test_packages_that_are_not_installed_are_reported_and_only_those_of_extras_may_be_missing(found, monkeypatch):
    monkeypatch.setattr(doctor, "REPORTED_PACKAGES", ("no-such-package",))
    monkeypatch.setattr(doctor, "OPTIONAL_PACKAGES", {"no-such-extra": "crf.backend=toy", "numpy": "all"})
    findings = found()
    assert findings["no-such-package"] == Finding(
        "no-such-package", False, "not installed; run pip install no-such-package"
    )
    assert findings["no-such-extra"] == Finding("no-such-extra", True, "not installed; only crf.backend=toy needs it")
    assert findings["numpy"] == Finding("numpy", True, version("numpy"))


def test_devices_are_reported_with_their_precision(found):
    detail = found()["devices"].detail
    assert detail.split(" in ")[0] in ("cpu", "mps") or detail.startswith("cuda:0")
    assert f"{cores()} cores for masks" in detail


def test_a_writable_store_is_left_empty(found, tmp_path):
    (tmp_path / "a b").mkdir()
    finding = found(tmp_path / "a b")["store"]
    assert (finding.works, finding.detail) == (True, f"{tmp_path}/a b can be written")
    assert list((tmp_path / "a b").iterdir()) == []


def test_a_store_in_memory_is_writable(found):
    assert found("memory://store")["store"].works


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        ("{folder}/file/store", "a file is where a folder must be"),
        ("nowhere://store", "Protocol not known: nowhere"),
        ("gs://bucket/store", "install gcsfs"),
    ],
)
def test_a_store_that_is_not_writable_is_reported(found, tmp_path, store, expected):
    (tmp_path / "file").write_text("no folder")
    uri = store.format(folder=tmp_path)

    finding = found(uri)["store"]

    assert not finding.works
    assert finding.detail.startswith(f"{uri} cannot be written (")
    assert expected in finding.detail
    assert finding.detail.endswith("); name another store with --store")


def test_an_object_store_without_credentials_is_reported(found, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    finding = found("s3://clipes-doctor/store")["store"]

    assert not finding.works
    assert "Unable to locate credentials" in finding.detail


def test_a_store_on_s3_is_written_to_and_left_empty(found, s3, s3_folder, monkeypatch):
    assert found(s3_folder)["store"].works
    assert not [name for name in s3.files().find(s3_folder) if ".doctor-" in name]

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret_key)
    S3FileSystem.clear_instance_cache()
    finding = found(s3_folder)["store"]
    assert not finding.works
    assert finding.detail.startswith(f"{s3_folder} cannot be written ({s3_folder}/.trial.")
    assert finding.detail.endswith(
        ": no permission (Access Denied.); check its permissions or the credentials); name another store with --store"
    )


def test_weights_are_reported_with_their_digest(found, seeded_weights):
    detail = found()["weights"].detail
    assert detail.startswith(f"ViT-B-16-quickgelu {seeded_weights}, digest ")
    assert len(detail.rpartition(" ")[2]) == 16


@pytest.mark.parametrize(
    ("pretrained", "expected"),
    [("/nowhere/vit.pt", "expected a file or a tag"), ("random:x", "expected random:SEED")],
)
def test_weights_that_do_not_exist_are_reported(found, pretrained, expected):
    finding = found(pretrained=pretrained)["weights"]
    assert not finding.works
    assert finding.detail.startswith(f"clip.pretrained {pretrained}: {expected}")


def test_weights_that_cannot_be_loaded_are_reported(found, seeded_weights, tmp_path):
    short, other = tmp_path / "short.pt", tmp_path / "other.pt"
    short.write_bytes(seeded_weights.read_bytes()[:1000])
    torch.save({"weight": torch.zeros(2, 2)}, other)

    for path in (short, other):
        finding = found(pretrained=path)["weights"]
        assert not finding.works
        assert finding.detail.startswith(f"{path}: expected ")


def test_without_a_configured_server_all_runs_share_one(found):
    finding = found()["server"]
    assert finding.works
    assert finding.detail == (
        "PREFECT_API_URL is not set: clipes starts a Prefect server, which all your runs on this machine share"
    )


def test_a_server_that_does_not_answer_is_reported(found):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        finding = found()["server"]
    assert not finding.works
    assert finding.detail.startswith("http://127.0.0.1:9/api does not answer (")
    assert finding.detail.endswith("start the server, or correct the URL, or unset PREFECT_API_URL")


def test_without_prefect_everything_else_is_still_checked(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect.settings", None)  # None makes the import fail

    findings = found()

    assert not findings["server"].works
    assert findings["server"].detail.startswith("prefect cannot be imported (")
    assert findings["server"].detail.endswith("); run pip install prefect")
    assert findings["store"].works


@pytest.mark.parametrize(("avx512_bf16", "amx"), [(True, True), (True, False), (False, False)])
def test_fast_is_suggested_only_for_a_processor_that_multiplies_bfloat16(monkeypatch, avx512_bf16, amx):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    assert ("clip.precision=fast" in doctor._find_devices().detail) is avx512_bf16
