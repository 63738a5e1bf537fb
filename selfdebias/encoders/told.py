"""What an encoder was told in its training: an attribute that it was told is not found without labels."""

from __future__ import annotations

from typing import Any

SHIPPED = {
    "shipped:emoji_clip": "captions of the drawings, and nothing else",
    "shipped:emoji_clip_informed": "the attributes of each drawing, gender twice: that modes are these attributes is no evidence "
    "that they are found without labels",
    "shipped:emoji_simclr": "the drawings alone, without any text",
}


def told_of(encoder: Any) -> str:
    """Return what an encoder was told, as the end of a sentence: of a shipped one its own, else its class's `told`; "" without.

    Example:
        >>> from selfdebias.encoders import ClipEncoder
        >>> told_of(ClipEncoder("shipped:emoji_clip")), told_of(ClipEncoder("openai/clip-vit-base-patch32")), told_of(len)
        ('captions of the drawings, and nothing else', 'captions of images', '')
    """
    return SHIPPED.get(getattr(encoder, "encoder_id", ""), getattr(encoder, "told", ""))
