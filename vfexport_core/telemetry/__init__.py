"""What the service tells of itself while it works: log lines (``logs``) and traces (``tracing``).

Both carry what the work is for (``context``): the correlation id of the request that it began with, and the export.
"""
