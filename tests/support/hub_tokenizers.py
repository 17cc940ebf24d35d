"""Small tokenizers in the format of Hugging Face, trained on sentences about the project's classes."""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from clipes.tasks.inputs.templates import shipped_templates
from clipes.tasks.inputs.vocabularies import load_vocabulary


def sentences():
    """Return sentences with the words of the VOC classes in the shipped templates."""
    words = [word for entry in load_vocabulary("voc12").classes for word in entry.separate_words]
    return [template.replace("{}", word) for template in shipped_templates()[:8] for word in words]


def write_sentencepiece(folder, seed_words=(), pad_token="</s>", **config):
    """Write a tokenizer like SigLIP's: unigrams, an end token, and the end token as padding."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator([*sentences(), *seed_words], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return _write(tokenizer, folder, {"pad_token": pad_token, "eos_token": "</s>", "unk_token": "<unk>", **config})


def write_gemma(folder, **config):
    """Write a tokenizer like SigLIP 2's: byte pairs of Gemma, whose config says which marks a text gets."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(sentences(), trainer)
    marks = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": {"content": "<bos>"}}
    return _write(tokenizer, folder, {"tokenizer_class": "GemmaTokenizerFast", **marks, **config})


def write_wordpiece(folder, **config):
    """Write a tokenizer like BERT's, which CLIPA uses: word pieces between [CLS] and [SEP]."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return _write(tokenizer, folder, {"pad_token": "[PAD]", "sep_token": {"content": "[SEP]"}, **config})


def _write(tokenizer, folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
