"""Puts the folder `conf` of each installed plug-in of selfdebias on Hydra's search path, where it is selfdebias that runs."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PluginConf(SearchPathPlugin):
    """See the module."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See `hydra.plugins.search_path_plugin.SearchPathPlugin`."""
        from selfdebias.config.sources import conf_folder, plugin_folders

        if any(entry.path in (str(conf_folder()), f"file://{conf_folder()}") for entry in search_path.get_path()):
            for folder in plugin_folders():
                search_path.append("selfdebias", f"file://{folder}")
