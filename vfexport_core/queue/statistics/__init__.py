"""What is counted of the queue: its depth now, counters of all that ended, estimates of when an export starts."""
