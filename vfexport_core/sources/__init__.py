"""MongoDB to Arrow: resumable scans, decoding that is exact for whatever BSON there is, look-ups by the batch."""
