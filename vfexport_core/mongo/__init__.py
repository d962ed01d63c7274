"""MongoDB as everything above it needs it: clients, one retry policy, the service's own collections, indexes.

``client`` connects and says whom to read from, ``retry`` knows which faults pass, ``own_collections`` opens what the
service owns, ``schema_setup`` sets that up, ``usable_indexes`` tells which indexes of a collection any query may use.
"""
