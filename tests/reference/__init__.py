"""The independent oracle: the 15 export types of 03, row by row, written from the specification alone.

It shares no code with the pipeline. Where the specification is silent, the choice is stated in the module docstring
of the rule it belongs to: values (cells), campaign (look-ups), columns, rows, promoters, reminders, exporting.
"""

from __future__ import annotations

from tests.reference.campaign import Campaign, decode
from tests.reference.exporting import EXPORT_TYPES, NoMarketsFound, ReferenceExport, export
from tests.reference.order import order_key
from tests.reference.promoters import PromotersNotFound
from tests.reference.values import text as cell_text

__all__ = [
    "EXPORT_TYPES",
    "Campaign",
    "NoMarketsFound",
    "PromotersNotFound",
    "ReferenceExport",
    "cell_text",
    "decode",
    "export",
    "order_key",
]
