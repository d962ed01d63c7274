"""Deleting what was exported of a fan (CCPA), and the record of it; the use case itself is a service.

``hashing`` and ``person_keys`` (a person is kept as keyed hashes only), ``records`` and ``schema`` <- ``repository``
(`ccpaDeletions`), ``file_index`` (who is in which file) <- ``search`` (the person's campaigns), ``sweep`` (files and
documents) <- ``deletion_attempt`` (one try at one deletion). Exports that run meanwhile ask ``suppression`` whose rows
they must leave out, and write their own part of the index by ``indexed_file``.
"""
