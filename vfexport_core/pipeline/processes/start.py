"""Starts a format process; a script, so that it has come to this before anything large is imported.

    python -P start.py SOCKET RUN

SOCKET is the number of an open file, RUN the id of the process that has the other end. What the export is comes over
the socket: nothing of it stands on the command line.
"""

from __future__ import annotations

import socket
import sys

from vfexport_core.parent_death import ending_with
from vfexport_core.without_pandas import leave_out_pandas

if __name__ == "__main__":
    number, run = map(int, sys.argv[1:])
    ending_with(run)()
    leave_out_pandas()
    from vfexport_core.pipeline.processes.helper import main

    main(socket.socket(fileno=number))
