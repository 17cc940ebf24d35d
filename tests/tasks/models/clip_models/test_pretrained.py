"""The values of clip.pretrained: files, URIs, tags of OpenCLIP, random and shipped weights."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import open_clip
import pytest
import safetensors.torch
import torch
from open_clip.transformer import QuickGELU
from support.web_server import Handler, serve

from clipes.tasks.models.clip import load_clip, weights_digest
from clipes.tasks.models.clip_models.pretrained import find_weights, has_weights
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import WeightsError

pytestmark = pytest.mark.usefixtures("tiny_names")


def test_random_weights_depend_only_on_the_seed(tiny_names):
    before = torch.get_rng_state()
    first, again, other = (load_clip(ClipConfig(model=tiny_names[0], pretrained=f"random:{s}")) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(first.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.model.visual.proj, other.model.visual.proj)
    assert first.digest == again.digest != other.digest


def test_random_weights_are_the_initial_weights_of_open_clip():
    clip = load_clip(ClipConfig(model="ViT-B-32-quickgelu", pretrained="random:5"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        expected = open_clip.create_model("ViT-B-32-quickgelu")
    assert all(torch.equal(tensor, clip.model.state_dict()[name]) for name, tensor in expected.state_dict().items())
    assert isinstance(clip.model.visual.transformer.resblocks[0].mlp.gelu, QuickGELU)
    assert isinstance(clip.model.transformer.resblocks[0].mlp.gelu, QuickGELU)


def test_the_digest_can_be_computed_without_building_the_model(seeded_weights, tiny_names):
    for config in (
        ClipConfig(pretrained=str(seeded_weights)),
        ClipConfig(model=tiny_names[1], pretrained="random:3"),
    ):
        assert weights_digest(config) == load_clip(config).digest
        assert len(weights_digest(config)) == 16


def test_a_tag_of_open_clip_can_be_told_from_a_path():
    """Only a value that may be a tag is looked up, because importing OpenCLIP takes seconds."""
    assert all(tag.isidentifier() for _, tag in open_clip.list_pretrained())


@pytest.mark.parametrize("model", ["clipes-demo", "ViT-B-16"])
def test_the_digest_of_a_file_and_of_random_weights_needs_neither_torch_nor_open_clip(model, seeded_weights):
    program = (
        "import sys\n"
        "from clipes.tasks.models.clip import weights_digest\n"
        "from clipes_core.config.pseudo_masks import ClipConfig\n"
        f"for weights in ({str(seeded_weights)!r}, 'random:1'):\n"
        f"    print(weights_digest(ClipConfig(model={model!r}, pretrained=weights)))\n"
        "print({'torch', 'open_clip'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    expected = (repr((model, 1, str(torch.__version__), open_clip.__version__)).encode(), seeded_weights.read_bytes())
    of_random, of_file = (hashlib.sha256(each).hexdigest()[:16] for each in expected)
    assert done.stdout.splitlines() == [of_file, of_random, "set()"]


def test_random_digests_differ_by_model_and_seed():
    values = [("ViT-B-32", "random:0"), ("ViT-B-32", "random:1"), ("ViT-B-32-quickgelu", "random:0")]
    digests = {weights_digest(ClipConfig(model=model, pretrained=pretrained)) for model, pretrained in values}
    assert len(digests) == 3
    assert weights_digest(ClipConfig(model="ViT-B-32", pretrained="random:00")) in digests


def test_a_remote_file_is_downloaded_once_per_version(tmp_path, monkeypatch, tiny_state):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    memory = fsspec.filesystem("memory")
    config = ClipConfig(model="tiny56", pretrained="memory://weights/clip.safetensors")
    memory.pipe_file("/weights/clip.safetensors", safetensors.torch.save(tiny_state))
    try:
        first = load_clip(config)
        (copy,) = (tmp_path / "hub" / "clipes").iterdir()
        inode = copy.stat().st_ino
        assert first.digest == weights_digest(config)
        assert copy.stat().st_ino == inode
        memory.pipe_file("/weights/clip.safetensors", safetensors.torch.save({"a": torch.ones(1)}))
        assert weights_digest(config) != first.digest
        with pytest.raises(WeightsError, match=r"-clip\.safetensors: expected a CLIP with a ViT or a"):
            load_clip(config)
    finally:
        memory.rm("/weights", recursive=True)
    assert torch.equal(first.model.visual.proj, tiny_state["visual.proj"])


def test_a_local_uri_is_read_in_place(tmp_path, monkeypatch, tiny_state):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    torch.save(tiny_state, tmp_path / "clip.pt")
    assert weights_digest(ClipConfig(pretrained=f"file://{tmp_path}/clip.pt")) == weights_digest(
        ClipConfig(pretrained=str(tmp_path / "clip.pt"))
    )
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "memory://no/clip.pt",
        "file:///no/clip.pt",
        "file:///",
        "nosuch://bucket/clip.pt",
        "http://127.0.0.1:9/clip.pt",
    ],
)
def test_unreadable_uris_are_weights_errors(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=rf"{uri}: expected a readable file, found none \(.+\); check the URI"):
        load_clip(ClipConfig(pretrained=uri))


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        (
            "ViT-B-16-quickgelu",
            "openaii",
            "or a tag of ViT-B-16-quickgelu, found neither; the tags of this model: openai",
        ),
        ("ViT-B-16-quickgelu", "clip.pt", f"expected the file {Path.cwd()}/clip.pt or a tag of"),
        ("ViT-B-16-quickgelu", "/nowhere/clip.pt", "found neither; the tags of this model: openai, "),
        ("ViT-S-32", "/", "found neither; the tags of this model: none"),
        (
            "ViT-B-16",
            "openai",
            "weights were trained with QuickGELU, but ViT-B-16 has GELU; set clip.model to ViT-B-16-quickgelu",
        ),
        (
            "ViT-B-16-quickgelu",
            "laion2b_s34b_b88k",
            "these weights belong to ViT-B-16, which has GELU instead of QuickGELU; set clip.model to V",
        ),
        ("ViT-B-32", "random:x", "expected random:SEED with an integer seed, for example random:0"),
        ("ViT-B-32", "random:-1", "expected random:SEED with an integer seed"),
        ("convnext_base", "openai", "convnext_base: clipes does not support this model, because its image network"),
        ("convnext_base", "random:0", "convnext_base: clipes does not support this model, because its image network"),
    ],
)
@pytest.mark.parametrize("function", [load_clip, weights_digest])
def test_unusable_values_of_pretrained_are_errors(function, model, pretrained, message):
    with pytest.raises(WeightsError, match=message) as caught:
        function(ClipConfig(model=model, pretrained=pretrained))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", [load_clip, weights_digest, find_weights, has_weights])
def test_weights_that_are_not_on_the_hub_are_refused_with_their_address(monkeypatch, function):
    entry = {"url": "https://example.org/clip.pt", "mean": (0, 0, 0), "std": (1, 1, 1)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-B-32", {"elsewhere": entry})
    with pytest.raises(WeightsError) as caught:
        function(ClipConfig(model="ViT-B-32", pretrained="elsewhere"))
    assert str(caught.value) == (
        "clip.pretrained elsewhere: these weights of ViT-B-32 are not on the Hugging Face hub; download "
        "https://example.org/clip.pt, and add --set clip.pretrained=FILE with the path of the file"
    )


DIGEST = """
from clipes_core.config.run import ClipConfig; from clipes_core.errors import WeightsError
from clipes.tasks.models.clip import weights_digest
try: print(weights_digest(ClipConfig()))
except WeightsError as exc: print(exc)
"""
REPOSITORY = "timm/vit_base_patch16_clip_224.openai"


def digest_of_the_default(home, hub, program=DIGEST):
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)


class Hub(Handler):
    """Answers like the Hugging Face hub: it has one file."""

    def do_HEAD(self):  # noqa: N802 - the name that http.server calls
        found = self.path == f"/{REPOSITORY}/resolve/main/open_clip_model.safetensors"
        self.send_response(200 if found else 404)
        if not found:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", '"1234"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(b"weights") if found else 0))
        self.end_headers()
        if found and self.command == "GET":
            self.wfile.write(b"weights")

    do_GET = do_HEAD  # noqa: N815 - the name that http.server calls


def test_a_tag_is_downloaded_once_and_then_used_without_the_hub(tmp_path):
    digest = hashlib.sha256(b"weights").hexdigest()[:16]
    with serve(Hub) as url:
        assert digest_of_the_default(tmp_path, url).stdout.split() == [digest]
    assert digest_of_the_default(tmp_path, url).stdout.split() == [digest]


PLACE = """
from clipes_core.config.run import ClipConfig
from clipes.tasks.models.clip import weights_digest
from clipes.tasks.models.clip_models.pretrained import find_weights
before = find_weights(ClipConfig())
weights_digest(ClipConfig())
after = find_weights(ClipConfig())
print(before.path, before.size_bytes, before.url, before.cache, after.path.read_text(), after.size_bytes)
"""


def test_the_place_of_a_tag_is_found_without_a_download_and_later_in_the_cache(tmp_path):
    with serve(Hub) as url:
        shown = digest_of_the_default(tmp_path, url, PLACE).stdout.split()
    address = f"{url}/{REPOSITORY}/resolve/main/open_clip_model.safetensors"
    assert shown == ["None", "7", address, str(tmp_path / "hub"), "weights", "7"]


HAS = """
from clipes_core.config.run import ClipConfig
from clipes.tasks.models.clip import weights_digest
from clipes.tasks.models.clip_models.pretrained import has_weights
before = has_weights(ClipConfig())
weights_digest(ClipConfig())
print(before, has_weights(ClipConfig()))
"""


def test_a_tag_is_on_this_host_once_it_has_been_downloaded(tmp_path):
    with serve(Hub) as url:
        assert digest_of_the_default(tmp_path, url, HAS).stdout.split() == ["False", "True"]


def test_a_remote_file_is_on_this_host_once_it_has_been_copied(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    config = ClipConfig(pretrained="memory://has/clip.pt")
    with fsspec.open(config.pretrained, "wb") as file:
        file.write(b"weights")
    assert not has_weights(config)
    weights_digest(config)
    assert has_weights(config)


def test_other_weights_are_on_this_host_or_are_refused(seeded_weights):
    assert has_weights(ClipConfig(pretrained="random:0"))
    assert has_weights(ClipConfig(pretrained=str(seeded_weights)))
    assert has_weights(ClipConfig(model="clipes-demo", pretrained="clipes-demo"))
    for pretrained in ("openaii", "./none.pt"):
        with pytest.raises(WeightsError, match="or a tag of ViT-B-16-quickgelu, found neither"):
            has_weights(ClipConfig(pretrained=pretrained))


def test_the_place_of_other_weights_is_found(seeded_weights, configs):
    assert find_weights(ClipConfig(pretrained="random:0")) is None
    assert find_weights(ClipConfig(pretrained=str(seeded_weights))).path == seeded_weights
    shipped = find_weights(ClipConfig(model="clipes-demo", pretrained="clipes-demo"))
    assert shipped.path.name == "clipes-demo.safetensors"
    assert shipped.size_bytes == shipped.path.stat().st_size


def test_a_hub_that_does_not_answer_is_reported_in_one_line_without_repeated_requests(tmp_path):
    with serve(Hub) as url:
        pass  # nobody listens at this address any more
    done = digest_of_the_default(tmp_path, url)
    assert done.stdout.startswith(
        "clip.pretrained openai: the weights of ViT-B-16-quickgelu with OpenCLIP's tag openai are missing: the file "
        f"open_clip_model.safetensors (0.6 GB) of {REPOSITORY} is not in the cache {tmp_path}/hub, and cannot be "
        f"downloaded from {url} ("
    )
    assert done.stdout.endswith(
        f"): connect to the internet; or download {url}/{REPOSITORY}/resolve/main/open_clip_model.safetensors on "
        "another machine, and add --set clip.pretrained=FILE with the path of the file\n"
    )
    assert "Retrying" not in done.stderr


def test_shipped_weights_are_loaded_by_name():
    config = ClipConfig(model="clipes-demo", pretrained="clipes-demo")
    clip = load_clip(config)
    assert clip.digest == weights_digest(config)
    assert len(clip.model.visual.transformer.resblocks) == 10
    assert clip.tokenizer(["a clean origami car."]).shape == (1, 32)


def test_a_name_outside_the_shipped_folder_is_an_error():
    with pytest.raises(WeightsError, match=r"clip.pretrained \.\./models/clipes-demo: expected a file or a tag"):
        load_clip(ClipConfig(model="clipes-demo", pretrained="../models/clipes-demo"))
