"""Emoji World: how the small models that ship with the package were trained, from pinned npm packages to the shipped folders."""
