"""MongoDB as everything above it needs it: clients, one retry policy, the service's own collections, indexes.

``client`` connects and says whom to read from, ``retry`` knows which faults pass, ``collections`` opens what the
service owns, ``schema`` sets that up, ``indexes`` tells which indexes of a collection any query may use.
"""
