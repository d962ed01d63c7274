from __future__ import annotations


def test_servers_answer(database, settings):
    database.x.insert_one({"_id": 1})
    assert database.x.find_one() == {"_id": 1}
    assert settings.mongo_database == database.name
    assert settings.lookup_batch == 100
