"""Deleting what was exported of a fan (CCPA), and the record of it.

``hashing`` (the user's id is kept as a keyed hash only) <- ``records``, ``schema`` <- ``ledger`` (`ccpaDeletions`)
<- ``finding`` (the user's campaigns), ``erasing`` (files and documents) <- ``deletion`` (one deletion, from request to
completion); ``exclusion`` is what exports that run meanwhile ask: whose rows they must leave out.
"""
