"""MongoDB to Arrow: resumable scans, strict decoding with a sound fallback, look-ups by the batch."""
