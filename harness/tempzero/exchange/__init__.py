"""Records of other tools in, a run folder out, and a run folder in, records for other tools out.

A table needs a mapping (`recipe`): which column holds the provider, the question, the answer. What
would make a figure false is refused, with the reason: duplicates, several ways of asking under one
key, failures and refusals that stand where answers do.
"""

from __future__ import annotations

from tempzero.exchange.exporting import EXPORTS, export_run
from tempzero.exchange.formats import FORMATS
from tempzero.exchange.importing import import_records
from tempzero.exchange.recipe import FIELDS, Recipe, recipe_from_options

__all__ = ["EXPORTS", "FIELDS", "FORMATS", "Recipe", "export_run", "import_records", "recipe_from_options"]
