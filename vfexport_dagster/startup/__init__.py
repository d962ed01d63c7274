"""How soon a run begins: what leans on parts of Dagster and of Python that are not promised to stay.

``forking`` forks runs from a process that has imported everything (``preloaded``). A setting switches it off, and it is
off by itself with a minor version of Dagster that nobody has looked at. Without it runs begin later and are as right.
"""
