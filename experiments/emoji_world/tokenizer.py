"""The word tokenizer of Emoji World: a real `CLIPTokenizer` whose merges build each word of the captions."""

from __future__ import annotations

from transformers import CLIPTokenizer

from experiments.emoji_world.captions import all_captions

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 20  # tokens


def build_tokenizer(length: int = LENGTH) -> CLIPTokenizer:
    """Build the tokenizer; each word of a caption is one token, and longer texts are cut to `length` tokens."""
    merges: list[tuple[str, str]] = []
    for word in sorted({word for caption in all_captions() for word in caption.split()}):
        while len(pieces := _apply(merges, word)) > 1:
            merges.append((pieces[0], pieces[1]))  # ranked below all earlier merges, so earlier words stay whole
    letters = [chr(c) + end for c in range(ord("a"), ord("z") + 1) for end in ("", "</w>")]
    tokens = [START, END, *letters, *(left + right for left, right in merges)]
    return CLIPTokenizer(
        vocab={token: i for i, token in enumerate(dict.fromkeys(tokens))},
        merges=merges, bos_token=START, eos_token=END, unk_token=END, pad_token=END, model_max_length=length,
    )  # fmt: skip


def _apply(merges: list[tuple[str, str]], word: str) -> list[str]:
    """Split a word as byte-pair encoding does with these merges, in their order."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    for left, right in merges:
        i = 0
        while i < len(pieces) - 1:
            if (pieces[i], pieces[i + 1]) == (left, right):
                pieces[i : i + 2] = [left + right]
            i += 1
    return pieces


def text_ids(tokenizer: CLIPTokenizer) -> dict[str, int]:
    """Return what a `CLIPTextConfig` must know of the tokenizer: the special ids, and the size of the vocabulary."""
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "vocab_size": len(tokenizer),
    }
