"""Bytes to S3: buckets and clients, names, the multipart writer, cleaning up; the only place that speaks to S3.

``buckets`` finds a bucket and its client, ``keys`` names things, ``writer`` writes an object, ``cleanup`` takes away.
Below them: ``clients`` makes S3 clients, ``target`` sends, retries and gives up, ``failures`` tells which failure is
which, ``requests`` are the threads, ``multipart`` and ``staging`` the two halves of a large object's way.
"""
