"""Bytes to objects: where the files of exports go, what they are called, and who may have them.

``object_store`` is the port; ``s3`` and ``local_store`` are behind it. ``buckets`` opens the configured ones,
``object_keys`` names objects, staging objects and downloads.
"""
