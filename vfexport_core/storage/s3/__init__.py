"""S3 behind the `ObjectStore` port; the only place that speaks to it.

``clients`` makes clients, ``bucket`` sends, retries and gives up, ``failures`` tells which failure is which;
``multipart`` and ``writer`` write an object, ``cleanup`` takes away, ``probing`` looks at how a bucket is set up.
"""
