"""Arrow's functions on arrays (``pyarrow.compute``), most of which pyarrow makes when it is imported.

A type checker knows none of these by name, so they are imported from here, where it is told not to look for them;
everywhere else a wrong attribute is an error.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
