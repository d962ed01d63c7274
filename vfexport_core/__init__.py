"""Verified Fan exports: everything that needs no orchestrator.

The way of the data is the order of the packages: ``queue`` (what was asked for) -> ``catalog`` (what an export type
is) -> ``sources`` (MongoDB to Arrow) -> ``rows`` (Arrow to cells) -> ``files`` (cells to bytes) -> ``storage``
(bytes to S3); ``pipeline`` puts them together. ``services`` has the use cases, which ``api``
and ``cli`` call.
"""
