"""The pipeline: one export from MongoDB to its files, by stages (pipeline.stages).

Nothing is imported here: a format process, which is to begin soon, needs a part of it.
"""

from __future__ import annotations

import os

# Before numpy is imported: for each processor it would start a thread that multiplies matrices, of which there are none
# here, and that takes memory and time from those that do something.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
