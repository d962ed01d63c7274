"""MongoDB and S3 for the demo and the tests: real servers as child processes, and synthetic campaigns to fill them.

Importing this package needs neither server installed; starting one does (extra ``demo``).
"""

from vfexport_core.embedded.environment import embedded_environment
from vfexport_core.embedded.mongo import MongoServer, embedded_mongo
from vfexport_core.embedded.s3 import S3Server, embedded_s3

__all__ = ["MongoServer", "S3Server", "embedded_environment", "embedded_mongo", "embedded_s3"]
