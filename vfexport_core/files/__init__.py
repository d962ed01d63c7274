"""Columns to bytes: CSV, and later ZIP and splitting."""
