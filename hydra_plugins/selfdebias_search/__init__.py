"""Plug-ins of Hydra's: the sweeper `search`, and the folders of installed plug-ins of selfdebias on the search path."""
