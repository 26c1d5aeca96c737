"""The command line: one module for each command, each imported when it is run."""
