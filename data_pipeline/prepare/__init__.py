"""From logs of behavior to a directory of timelines: `python -m data_pipeline.prepare`."""
