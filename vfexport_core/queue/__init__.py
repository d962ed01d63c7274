"""The queue of exports: what was asked for, who runs it, how it ended; the rules L1-L9 of the specification.

``models`` (values) <- ``transitions`` (every change of state, as data) <- ``reading`` <- ``store`` (`ExportStore`);
``schema`` holds the indexes and the validator.
"""
