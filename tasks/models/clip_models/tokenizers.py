"""The tokenizers of CLIP's text networks: OpenAI's byte pair encoding, or a tokenizer in the format of Hugging Face."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipes.tasks.models.weight_files import HubError, hub_file
from clipes.tasks.storage.filesystem import first_line
from clipes_core.config.extras import TOKENIZERS
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from clipes_core.prompts import Tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json")
OWN = "auto"  # value of clip.tokenizer


class ClipTokenizer:
    """The tokenizer of OpenAI's CLIP: byte pair encoding of lower-case text, between a start and an end token.

    Args:
        context_length: number of tokens that the text network reads.
    """

    def __init__(self, context_length: int) -> None:
        import open_clip

        self.context_length = context_length
        self._bpe = open_clip.SimpleTokenizer(context_length=context_length)

    def __call__(self, texts: Sequence[str]) -> "torch.Tensor":
        """Return (number of texts, context_length) int64 tokens, padded with 0. A longer text is truncated."""
        return self._bpe(list(texts))

    def count(self, text: str) -> int:
        """Return the number of tokens of a text, with the start and the end token."""
        return len(self._bpe.encode(text)) + 2


class HubTokenizer:
    """A tokenizer from the files that Hugging Face's libraries write, used as OpenCLIP uses it.

    Args:
        files: paths of FILES.
        text_cfg: OpenCLIP's settings of the text network.

    Raises:
        WeightsError: a file is damaged, or does not name the token that pads short texts. When a text is encoded: the
            network does not know one of its tokens.
    """

    def __init__(self, files: tuple[Path, Path], text_cfg: dict[str, Any]) -> None:
        from open_clip.tokenizer import get_clean_fn
        from tokenizers import Tokenizer as FastTokenizer

        path, config_path = files
        try:
            self._tokenizer = FastTokenizer.from_str(path.read_text(encoding="utf-8"))
            config = dict(json.loads(config_path.read_text(encoding="utf-8")))
        except Exception as exc:  # `tokenizers` raises the base class for a damaged file
            raise WeightsError(
                f"{path}: expected a tokenizer in the format of Hugging Face, with {config_path.name} beside it, found "
                f"something else ({first_line(exc)}); download both files again"
            ) from exc
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        options = {"clean": "whitespace", "strip_sep_token": False} | (text_cfg.get("tokenizer_kwargs") or {})
        self.context_length = int(text_cfg.get("context_length", 77))
        self._clean = get_clean_fn(options["clean"])
        self._pad = self._id(config, "pad_token", config_path)
        self._dropped = {self._id(config, "sep_token", config_path)} if options["strip_sep_token"] else set()
        is_gemma = str(config.get("tokenizer_class")).startswith("Gemma")  # of SigLIP 2
        if is_gemma and {"add_bos_token", "add_eos_token"} <= config.keys():
            self._add_marks(config, config_path)
        self._pads_left = config.get("padding_side", "left" if is_gemma else "right") == "left"
        self._vocab_size = int(text_cfg.get("vocab_size", 49408))
        self._source = path

    def __call__(self, texts: Sequence[str]) -> "torch.Tensor":
        """Return (number of texts, context_length) int64 tokens, padded. A longer text is truncated."""
        import torch

        rows = []
        for text in texts:
            ids = [0 if token in self._dropped else token for token in self._ids(text)][: self.context_length]
            padding = [self._pad] * (self.context_length - len(ids))
            rows.append(padding + ids if self._pads_left else ids + padding)
        return torch.tensor(rows, dtype=torch.int64)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text, with the tokens that mark its start or end."""
        return len(self._ids(text))

    def _ids(self, text: str) -> list[int]:
        ids = list(self._tokenizer.encode(self._clean(text)).ids)
        if max(ids, default=0) >= self._vocab_size:
            raise WeightsError(
                f"{self._source}: expected tokens below {self._vocab_size}, the number that the text network knows, "
                f"found {max(ids)} in {text!r}; use the tokenizer of clip.model"
            )
        return ids

    def _add_marks(self, config: dict[str, Any], path: Path) -> None:
        """Add a start and an end token to each text as the config says, as version 4 of transformers does for Gemma.

        Later versions take the marks from tokenizer.json, which agrees with the config if version 4 wrote both files.
        """
        from tokenizers.processors import TemplateProcessing

        first = ["bos_token"] if config["add_bos_token"] else []
        last = ["eos_token"] if config["add_eos_token"] else []
        marks = {_special(config, name): self._id(config, name, path) for name in first + last}
        parts = [*(_special(config, name) for name in first), "$A", *(_special(config, name) for name in last)]
        self._tokenizer.post_processor = TemplateProcessing(single=parts, special_tokens=[*marks.items()])

    def _id(self, config: dict[str, Any], name: str, path: Path) -> int:
        """Return the id of a special token."""
        text = _special(config, name)
        found = self._tokenizer.token_to_id(text) if isinstance(text, str) else None
        if found is None:
            raise WeightsError(f"{path}: expected a {name} that the tokenizer knows, found {text}; use another folder")
        return int(found)


def _special(config: dict[str, Any], name: str) -> Any:
    """Return a special token. Its entry in the config is a text, or a dict with the text."""
    entry = config.get(name)
    return entry.get("content") if isinstance(entry, dict) else entry


def open_tokenizer(config: ClipConfig, text_cfg: dict[str, Any]) -> "Tokenizer":
    """Return the tokenizer of a model.

    Args:
        config: settings of CLIP.
        text_cfg: OpenCLIP's settings of the model's text network.

    Raises:
        WeightsError: the tokenizer's files, or the package that reads them, are missing.
    """
    if not _is_from_hub(text_cfg):
        return ClipTokenizer(int(text_cfg.get("context_length", 77)))
    return HubTokenizer(_files(config, text_cfg), text_cfg)


def tokenizer_digest(config: ClipConfig, text_cfg: dict[str, Any]) -> str | None:
    """Return the digest of a model's tokenizer, 16 hex characters; None for that of OpenAI's CLIP, which never changes.

    Raises:
        WeightsError: the tokenizer's files, or the package that reads them, are missing.
    """
    if not _is_from_hub(text_cfg):
        return None
    contents = [hashlib.sha256(path.read_bytes()).digest() for path in _files(config, text_cfg)]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def _is_from_hub(text_cfg: dict[str, Any]) -> bool:
    return "hf_tokenizer_name" in text_cfg


def _files(config: ClipConfig, text_cfg: dict[str, Any]) -> tuple[Path, Path]:
    """Return the paths of FILES, in the folder `clip.tokenizer` or on the hub, from which they are downloaded."""
    if not TOKENIZERS.installed:
        raise WeightsError(f"clip.model {config.model}: its tokenizer cannot be read: {TOKENIZERS.advice()}")
    if config.tokenizer != OWN:
        folder = Path(config.tokenizer).expanduser()
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise WeightsError(
                f"clip.tokenizer {config.tokenizer}: expected a folder with {' and '.join(FILES)}, found no "
                f"{' and no '.join(missing)}; download them from the repository {text_cfg['hf_tokenizer_name']} of the "
                "Hugging Face hub"
            )
        return folder / FILES[0], folder / FILES[1]
    repository = text_cfg["hf_tokenizer_name"]
    try:
        first, second = (hub_file(f"{repository}/{name}", f"clip.model {config.model}") for name in FILES)
    except HubError as exc:
        raise WeightsError(
            f"clip.model {config.model}: its tokenizer is missing: the file {exc.name} {exc}: connect to the internet; "
            f"or download {' and '.join(FILES)} of {repository} into a folder on another machine, and add --set "
            "clip.tokenizer=FOLDER"
        ) from exc
    return first, second
