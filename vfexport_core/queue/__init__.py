"""The queue of exports: what was asked for, who runs it, how it ended; the rules L1-L9 of the specification.

``models`` are the values, ``transitions`` every change of state as data, ``schema`` the indexes and the validator.
``repository`` (`ExportRepository`) is the queue as callers see it, put together from ``claimed`` (the fenced writes of
the run that holds an export), ``reaper`` and ``removal``, all over one ``collection``. ``lease`` keeps a claim alive;
``statistics`` counts.
"""
