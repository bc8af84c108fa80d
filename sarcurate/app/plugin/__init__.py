"""The plugin as FiftyOne finds it; what it does stands in sarcurate.app.operators and .panel."""

from sarcurate.app.operators import OPERATORS
from sarcurate.app.panel import Curation


def register(plugin):  # type: ignore[no-untyped-def]
    """Called by FiftyOne."""
    for operator in (*OPERATORS, Curation):
        plugin.register(operator)
