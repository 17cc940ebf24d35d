"""Decide which URIs clipes accepts, so that no URI brings a password into a file, a log or a message.

A URI consists of a protocol, a host with an optional port (or a bucket) and a path. Anything else may be a password, a
token or a signature.
"""

import re

PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*")
HOST = re.compile(r"(?:[\w.~-]*|\[[0-9A-Fa-f:.]+\])(?::\d+)?")
BUCKET = re.compile(r"[\w.~-]*")
# The name before an @ is no secret here: it is a container of an account, or a user who proves the identity elsewhere.
NAMED_HOST = re.compile(r"(?:[\w.-]+@)?" + HOST.pattern)
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "oss", "oci")
PROTOCOLS_WITH_NAMES = ("abfs", "abfss", "az", "wasb", "wasbs", "hdfs", "sftp", "ssh")
LOCAL_PROTOCOLS = ("file", "local")
# A match ends before the marks that may follow it in a sentence. It starts only where a run of its first characters
# starts: otherwise, a long text without URIs would take quadratic time.
URI_IN_TEXT = re.compile(r"(?<![\w+.:-])[\w+.:-]*\w://\S*[^\s'\"`.,;:)\]}]")
# A user and a password with a blank, such as s3://me:my secret@host. Digits and a slash after the colon are a port.
WITH_BLANK = re.compile(r"(?<=\w:/|\w//|://)[^/@\s:]{1,200}:(?!\d+/)[^@\s]{1,200}[ \t][^@\n]{0,200}@")
# A user and a password in a mistyped URI, such as s3:/me:secret@host or http//me:secret@host
CREDENTIALS = re.compile(r"(?<=\w(?::|/)/)[^/@\s]+@")
# In an object store, a key may contain any of these characters. But ?name=value is how URLs carry tokens.
KEY_WITH_PARAMETER = re.compile(r"[?#][^/=?#]*=")
ADVICE = (
    "write only its protocol, host or bucket, port and path, because logs and files of clipes show them. Configure "
    "passwords and tokens as the fsspec package for the protocol expects. In the path of a web address, write %40 for "
    "@ and %3F for ?"
)


def is_uri(text: str) -> bool:
    """Return whether a text is a URI, and not the path of a local file."""
    return "://" in text


def uri_fault(uri: str) -> str | None:
    """Return why clipes refuses a URI, or None if clipes accepts it. A path of a local file is always accepted.

    The result never contains a part of the URI that may be secret.
    """
    if not is_uri(uri):
        return None
    protocol, _, rest = uri.partition("://")
    if protocol.lower() != protocol and PROTOCOL.fullmatch(protocol.lower()):
        return "its protocol must be in lower case"
    if not PROTOCOL.fullmatch(protocol):
        return "the part before :// is not a protocol"
    if protocol in LOCAL_PROTOCOLS:
        return None if rest.startswith("/") else f"{protocol}:// must be followed by an absolute path"
    host, slash, path = rest.partition("/")
    if not _host_pattern(protocol).fullmatch(host):
        return "the part between :// and the next / is not a plain host or bucket"
    return _path_fault(protocol, slash + path)


def refusal(uri: str) -> str | None:
    """Return the message, without a part of the URI that may be secret, if clipes refuses a URI; None otherwise."""
    fault = uri_fault(uri)
    return fault and f"the URI may contain a password or token ({fault}): {ADVICE}"


def shown(uri: str) -> str:
    """Return a path or URI as messages show it: if clipes refuses it, only its protocol, as in `ftp://***`."""
    return f"{uri.partition('://')[0].rpartition('::')[2]}://***" if uri_fault(uri) else uri


def without_secrets(text: str) -> str:
    """Return a text in which each URI that clipes refuses is replaced as `shown` does.

    The user and the password in a mistyped URI, such as `s3:/me:secret@host`, are replaced too.
    """
    text = WITH_BLANK.sub("***@", text)
    return CREDENTIALS.sub("***@", URI_IN_TEXT.sub(lambda found: shown(found[0]), text))


def _host_pattern(protocol: str) -> re.Pattern[str]:
    if protocol in OBJECT_STORES:
        return BUCKET
    return NAMED_HOST if protocol in PROTOCOLS_WITH_NAMES else HOST


def _path_fault(protocol: str, path: str) -> str | None:
    if is_uri(path):
        return "its path contains ://"
    if protocol in OBJECT_STORES:
        return "its key contains a parameter" if KEY_WITH_PARAMETER.search(path) else None
    found = next((character for character in path if character in "?#;@"), None)
    return f"its path contains {found}" if found else None
