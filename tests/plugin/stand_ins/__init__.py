"""A plug-in as another package would register one, for the tests of the command line."""
