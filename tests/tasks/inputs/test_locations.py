import pytest

from clipes.tasks.inputs.locations import checked_location
from clipes_core.errors import ConfigError


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")


@pytest.mark.parametrize(
    "text",
    [
        *[
            "s3://bucket/a:b",
            "file:///x",
            "memory://x",
            "memory:///x",
            "https://host:8080/x",
            "nowhere://x",
        ],
        *[
            "/a/b",
            "a b/c",
            "./s3:/x",
            "../x",
            "a//b",
            "//server/x",
            "x#y",
            "a::b",
            "a:b",
            "C:/data",
            "\u0646\u200c\u0647",
        ],
        *["voc12", "random:0", "torchvision://resnet101", "http", "s3", "ViT-B:16"],
    ],
)
def test_paths_uris_and_names_pass_unchanged(text):
    assert checked_location(text, "store") == text


@pytest.mark.parametrize(("text", "path"), [("~", "/home/me"), ("~/a b", "/home/me/a b"), ("a/~", "a/~")])
def test_the_home_folder_is_expanded_at_the_start_only(text, path):
    assert checked_location(text, "store") == path


@pytest.mark.parametrize(
    ("text", "proper"),
    [
        ("s3:/bucket/x", "s3://bucket/x; for a local path, write ./s3:/bucket/x"),
        ("s3//bucket/x", "s3://bucket/x; for a local path, write ./s3//bucket/x"),
        ("s3:bucket/x", "s3://bucket/x; for a local path, write ./s3:bucket/x"),
        ("s3;//bucket", "s3://bucket; for a local path, write ./s3;//bucket"),
        ("s3:\\\\bucket", "s3://bucket; for a local path, write ./s3:\\\\bucket"),
        ("S3://bucket", "s3://bucket"),
        ("Gs://bucket", "gs://bucket"),
        (" s3://bucket", "s3://bucket"),
        ("s3 ://bucket", "s3://bucket"),
        ("s3:///bucket", "s3://bucket"),
        ("http:/host/x", "http://host/x; for a local path, write ./http:/host/x"),
        ("HTTPS://host/x", "https://host/x"),
        ("file:/x", "file:///x; for a local path, write ./file:/x"),
        ("FILE:///x", "file:///x"),
    ],
)
def test_a_mistyped_uri_is_refused_with_the_proper_one(text, proper):
    with pytest.raises(ConfigError) as caught:
        checked_location(text, "--to")
    assert str(caught.value) == f"--to: {text!r} is not a URI; write {proper}"


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "a\nb", "\x1b[31m", "a\udc80"])
def test_text_that_no_file_can_have_as_a_name_is_refused(text):
    with pytest.raises(ConfigError, match=r"^store: .* is neither a path nor a URI; give the path or URI of a file or"):
        checked_location(text, "store")


def test_an_unknown_home_folder_is_refused():
    with pytest.raises(ConfigError, match=r"^store: '~nobody-here/x' names a home folder that does not exist; for a"):
        checked_location("~nobody-here/x", "store")


@pytest.mark.parametrize(
    "text", ["https://me:hunter2@host/x", "https:/me:hunter2@host/x", "s3//hunter2@host", "S3:/a?b=hunter2"]
)
def test_the_error_for_a_uri_with_a_password_names_the_option(text):
    with pytest.raises(ConfigError, match=r"^--to: the URI may contain a password or token") as caught:
        checked_location(text, "--to")
    assert "hunter2" not in str(caught.value)
