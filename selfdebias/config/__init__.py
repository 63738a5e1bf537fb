"""What is asked for: the configuration, composed and checked, and the prompts. Nothing here imports torch."""

from selfdebias.config.prompts import EqualShares, NoPrompt, PromptList, Prompts

__all__ = ["EqualShares", "NoPrompt", "PromptList", "Prompts"]
