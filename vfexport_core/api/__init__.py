"""The HTTP API of 04: FastAPI routes over the queue, the catalog and pre-signed downloads; no export work is done here.

``app.create_app(settings)`` makes the ASGI app, ``server.serve(settings, ...)`` runs it.
"""
