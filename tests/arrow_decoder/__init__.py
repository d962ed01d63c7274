"""The decoder that the own one replaced, by pymongoarrow: what both make of the same bytes has to be the same cells.

It shares nothing with vfexport_core.sources.decode but the form of a batch: values are found by libbson, those that are
not of their field's type are taken out of their documents one by one.
"""
