"""The administrators' page: ``static/`` is what a browser gets, ``feed`` what keeps it up to date.

Plain modules, served as they lie here: nothing is built, and nothing comes from another host. Its requests are those of
any caller of the API, with a token that the browser keeps for the tab and sends in a header.
"""
