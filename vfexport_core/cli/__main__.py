"""`python -m vfexport_core.cli` is `vfexport`."""

from __future__ import annotations

from vfexport_core.cli.app import main

if __name__ == "__main__":
    main()
