"""One run of a peer that is a Python package: exports the replay server's entries as it would by itself.

run_peer.py pandas|dlt PORT FOLDER
"""
# ruff: noqa: PLC0415 each imports only what it needs

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo
from plain_exporter import ENTRY_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH_DOCUMENTS = 4_000


def entries(port: int) -> Any:
    """Return a cursor over the entries, with the paths that an export needs; nested, as MongoDB projects them."""
    client: Any = pymongo.MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true")
    return client["verifiedfan"]["entries"].find({}, dict.fromkeys(ENTRY_PATHS, 1)).batch_size(_BATCH_DOCUMENTS)


def prepare_pandas(port: int, folder: Path) -> Callable[[], None]:
    """Return the export with pandas: all documents into one frame, the nested ones flattened."""
    import pandas as pd

    def run() -> None:
        frame = pd.json_normalize(list(entries(port)))
        frame.to_csv(folder / "entries.csv", index=False)

    return run


def prepare_dlt(port: int, folder: Path) -> Callable[[], None]:
    """Return the export with dlt: a resource over the cursor, loaded into CSV files."""
    os.environ |= {"NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION": "true", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    import dlt

    def run() -> None:
        destination = dlt.destinations.filesystem(bucket_url=folder.as_uri())
        pipeline = dlt.pipeline(
            "peer", destination=destination, pipelines_dir=str(folder / "state"), dataset_name="out"
        )
        documents = ({**entry, "_id": str(entry["_id"]["user_id"])} for entry in entries(port))
        pipeline.run(documents, table_name="entries", loader_file_format="csv")

    return run


_PEERS = {"pandas": prepare_pandas, "dlt": prepare_dlt}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=_PEERS)
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    run = _PEERS[arguments.peer](arguments.port, arguments.folder)
    start = time.perf_counter()
    run()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu_seconds": usage.ru_utime + usage.ru_stime}))


if __name__ == "__main__":
    main()
