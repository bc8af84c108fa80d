"""Networks and their training; one method per module."""
