"""Documents to output columns: the cell rules, expressions and the formula guard."""
