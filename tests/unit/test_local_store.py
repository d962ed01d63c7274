"""The local store keeps every promise of a store, and what `vfexport export --output` needs beside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.store_contract import KEY, Looked, StoreContract, begin
from vfexport_core.errors import DeliveryRefused
from vfexport_core.storage.local_store import LocalStore
from vfexport_core.storage.object_store import NewObject

OUTSIDE = ["../x", "a/../../x", "/etc/x"]


class Folder:
    """A store in a folder, looked at as a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = LocalStore(folder)

    def there(self) -> list[str]:
        return self.objects()

    def objects(self) -> list[str]:
        files = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(file) for file in files if file.parts[0] != "_metadata")

    def read(self, key: str) -> bytes:
        return (self.folder / key).read_bytes()

    def metadata(self, key: str) -> dict[str, str]:
        (kept,) = (self.folder / "_metadata" / key).parent.glob(f"{Path(key).name}@*")
        return json.loads(kept.read_text())

    def put(self, key: str, data: bytes, owner: str) -> None:
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        kept = self.folder / "_metadata" / f"{key}@{path.stat().st_ino}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps({"export-id": owner}))


class TestLocalStore(StoreContract):
    @pytest.fixture
    def looked(self, tmp_path: Path) -> Looked:
        return Folder(tmp_path)

    def test_what_is_kept_with_a_file_goes_with_it(self, tmp_path: Path) -> None:
        looked = Folder(tmp_path)
        with begin(looked) as writer:
            writer.write(b"x")
            writer.publish({}, lambda: None)
        looked.store.remove([KEY])
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    @pytest.mark.parametrize("key", OUTSIDE)
    def test_a_key_never_leads_out_of_the_folder(self, tmp_path: Path, key: str) -> None:
        store = LocalStore(tmp_path / "folder")
        for use in (
            lambda: begin_at(store, key, ".part"),
            lambda: begin_at(store, "x", key),
            lambda: store.remove([key]),
            lambda: store.sign(key, 60),
        ):
            with pytest.raises(DeliveryRefused, match="not a key below it"):
                use()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_what_the_system_refuses_names_folder_key_and_cause(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"")
        store = LocalStore(tmp_path)
        with pytest.raises(DeliveryRefused, match=rf"folder {tmp_path}: write .* failed: ") as raised:
            begin_at(store, "k", "a/b").write(b"x")
        assert isinstance(raised.value.__cause__, OSError)

    def test_an_interrupt_between_appearing_and_knowing_it_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked, link = Folder(tmp_path), os.link

        def interrupted(source: Path, target: Path) -> None:
            link(source, target)
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "link", interrupted)
        with begin(looked) as writer:
            writer.write(b"x")
            with pytest.raises(KeyboardInterrupt):
                writer.publish({}, lambda: None)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def begin_at(store: LocalStore, key: str, staging_key: str):
    return store.begin(NewObject(key=key, staging_key=staging_key))


def test_a_bare_folder_has_nothing_but_the_files_and_they_are_replaced(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, bare=True)
    for data in (b"old", b"new"):
        with begin_at(store, "out.csv", ".part") as writer:
            writer.write(data)
            writer.publish({}, lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == b"new"


def test_in_a_bare_folder_a_file_that_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_bytes(b"old")
    with begin_at(LocalStore(tmp_path, bare=True), "out.csv", ".part") as writer:
        writer.write(b"half of the ne")
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert (tmp_path / "out.csv").read_bytes() == b"old"
