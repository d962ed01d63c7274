"""Verified Fan exports in Dagster: decides when, `vfexport_core` decides what."""
