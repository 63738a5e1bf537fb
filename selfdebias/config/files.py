"""Configurations and files: YAML with comments, plain data that a stranger wrote, and options that name files of this computer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from selfdebias.config.rules import ConfigError, nodes, walk
from selfdebias.config.sources import Sources, composed_by_hydra

# Options of paths alone.
FILES = (
    "labelled", "folders", "reference", "modes", "weights", "folder", "path", "root", "save_dir", "negative_prompt_file",
)  # fmt: skip
MODELS = ("pretrained", "config")  # a path, or a model's id on the hub, owner/name
HERE = ("paths", "logger", "tags")  # sections that say where a job runs and who is told of it: no folder chooses them
SHIPPED, LOCAL = "shipped:", "local:"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
SINGLE_FILES = (".safetensors", ".ckpt")
WEIGHTS = ("pretrained", "weights", "folder")  # local weights, which are also named by their hash
LARGEST = 4 * 2**20  # bytes of a configuration
DEEPEST = 32  # dictionaries and lists within each other
FOR_HYDRA = ("hydra", "defaults")  # keys by which Hydra composes
COLUMN = 44  # where comments begin, unless a value is longer
_LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>(?: .*?)?)(?:\s+# ?(?P<comment>.*))?$")


def to_yaml(config: Mapping[str, Any]) -> str:
    """The configuration as YAML, keys in their order."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def commented_yaml(config: Mapping[str, Any], overrides: Sequence[str], sources: Sources) -> str:
    """The configuration as YAML, keys in their order, each with its comment.

    Args:
        config: What the overrides compose to, resolved.
        overrides: Those of the command line.
        sources: The folders of the YAML files.
    """
    choices = composed_by_hydra(sources, overrides).hydra.runtime.choices
    comments = dict(comments_in(sources.file(f"{sources.name}.yaml"), ""))
    heads = {}
    for group, option in choices.items():
        name, _, package = group.partition("@")
        if (
            option and name not in ("experiment", "debug") and not name.startswith("hydra")
        ):  # which say why, not what a key is
            comments |= dict(_inherited(f"{name}/{option}", package or name, sources))
            heads[package or name] = f"{name}={option}"
    for name in config["logger"] if "logger" not in choices else ():  # several of the group, of which Hydra names none
        comments |= dict(_inherited(f"logger/{name}", "logger", sources))
    lines = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=100_000).splitlines()
    comments |= heads
    return "".join(
        f"{line.ljust(COLUMN)}  # {comments[path]}\n" if path in comments and _LINE.match(line) else f"{line}\n"
        for path, line in _paths(lines)
    )


def _inherited(option: str, prefix: str, sources: Sources) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, comment) of an option such as guidance/transport, after those of the options that it builds on."""
    for file, place in files_of(option, prefix, sources):
        yield from comments_in(file, place)


def files_of(option: str, prefix: str, sources: Sources) -> Iterator[tuple[Path, str]]:
    """Yields the file of an option, after those that it builds on, Hydra's own left out, each with the prefix of its keys."""
    if option.startswith("hydra/") and not any((folder / f"{option}.yaml").exists() for folder in sources.folders):
        return
    file = sources.file(f"{option}.yaml")
    for parent in (yaml.safe_load(file.read_text()) or {}).get("defaults", []):
        if isinstance(parent, str) and parent != "_self_":
            name, _, package = parent.partition("@")
            place = name.removeprefix("/") if name.startswith("/") else f"{option.rpartition('/')[0]}/{name}"
            yield from files_of(place, f"{prefix}.{package}" if package else prefix, sources)
    yield file, prefix


def comments_in(file: Path, prefix: str) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, comment) of each key of a file that has one."""
    for path, line in _paths(file.read_text().splitlines()):
        match = _LINE.match(line)
        if match and match["comment"]:
            yield f"{prefix}.{path}" if prefix else path, match["comment"]


def _paths(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, line) for the lines of a block of YAML; an item of a list has the path of its list.

    Example:
        >>> list(_paths(["a:", "  b: 1", "c: 2"]))
        [('a', 'a:'), ('a.b', '  b: 1'), ('c', 'c: 2')]
    """
    open_keys: list[tuple[int, str]] = []
    for line in lines:
        match = _LINE.match(line)
        if match:
            indent = len(match["indent"])
            open_keys = [(depth, key) for depth, key in open_keys if depth < indent] + [(indent, match["key"])]
        yield ".".join(key for _, key in open_keys), line


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases, a few of which can stand for more values than fit into memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name)")
        return super().compose_node(parent, index)


def read_plain_yaml(file: Path) -> dict[str, Any]:
    """Reads a dictionary from a file of YAML, and refuses what is no plain data.

    Raises:
        ConfigError: With one line that names the file and what is wrong with it.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise ConfigError(f"{file} must be a configuration of at most {LARGEST} bytes.")
        content = yaml.load(file.read_text(encoding="utf-8"), _PlainLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{file} must be a dictionary in YAML, plain data: {reason}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{file} must be a dictionary in YAML, got a {type(content).__name__}.")
    check_plain(content, file)
    return content


def check_plain(content: Mapping[str, Any], file: Path) -> None:
    """Refuses interpolations, and keys by which something is composed.

    Args:
        content: What was read from the file.
        file: For the message.

    Raises:
        ConfigError: With the first of them.
    """
    for key in FOR_HYDRA:
        if key in content:
            raise ConfigError(
                f"{file} must be plain data, got the key `{key}`: a folder does not say how it is composed."
            )
    for path, value in nodes(content):
        if path.count(".") >= DEEPEST:
            raise ConfigError(f"{file} must be plain data of at most {DEEPEST} levels, got more at `{path}`.")
        for key in value if isinstance(value, Mapping) else ():
            if not isinstance(key, str | int) or "${" in str(key):
                raise ConfigError(f"{file} must be plain data, got the key {key!r} at `{path}`.")
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "${" in text:
                raise ConfigError(f"{file} must be plain data, got an interpolation at `{path}`: {text!r}.")


def is_hub_id(name: str) -> bool:
    """Whether a name can be that of a model on the hub.

    Example:
        >>> is_hub_id("openai/clip-vit-base-patch32"), is_hub_id("/models/mine"), is_hub_id("out/model.safetensors")
        (True, False, False)
    """
    return bool(HUB_ID.fullmatch(name)) and not name.endswith(SINGLE_FILES) and ".." not in name


def local_files(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (dotted path, value) of each option that names a file of this computer: nothing shipped, no id of the hub.

    Args:
        config: A resolved configuration, or a part of it; sections that say where a job runs are passed over.

    Example:
        >>> list(local_files({"evaluate": {"folders": {"vanilla": "out"}}, "paths": {"root": "runs"}, "prompts": {"text": "a"}}))
        [('evaluate.folders.vanilla', 'out')]
    """
    for path, value in walk(config):
        parts = path.split(".")
        if parts[0] in HERE or ({*parts}.isdisjoint(FILES) and parts[-1] not in MODELS):
            continue
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str) or (text.startswith(SHIPPED) and text.removeprefix(SHIPPED).isidentifier()):
                continue
            # a folder comes before a model of the same name on the hub
            if parts[-1] not in MODELS or not is_hub_id(text) or Path(text).exists():
                yield path, text


def check_interpolations(config: Any) -> None:
    """Refuses what would carry the environment, or a path of this computer, into results.

    Args:
        config: The configuration as it was composed, not resolved.

    Raises:
        ConfigError: If an option other than `paths.*` and the paths of local weights reads the environment, or refers to
            one of them.
    """
    for path, value in walk(config):
        parts = path.split(".")
        if parts[0] == "paths" or parts[-1] in (*WEIGHTS, *MODELS):
            continue
        for text in value if isinstance(value, list) else [value]:
            words = set(re.findall(r"\w+", text.partition("${")[2])) if isinstance(text, str) else set()
            if "env" in words:
                raise ConfigError(
                    f"`{path}` must not read the environment, got {text!r}: it would stand in every result. ${{oc.env:...}} is "
                    f"for paths.* and the paths of local weights alone."
                )
            if words & {*FILES, *MODELS, *HERE}:
                raise ConfigError(
                    f"`{path}` must not refer to a path of this computer, got {text!r}: it would stand in every result."
                )
