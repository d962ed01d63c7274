"""Several processes behind one scan: batches are transformed by whoever is free, and come back in their order.

``pool`` is the whole of it: the run's own process and its format processes. ``dispatch`` says who has which batch,
``remote`` is a format process as the run sees it, ``start`` and ``helper`` what runs in it, ``channel`` the messages
between the two, ``cpus`` how many processes are worth having on this machine.
"""
