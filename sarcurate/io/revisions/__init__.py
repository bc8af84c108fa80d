"""Git revisions of a workspace, read and compared."""
