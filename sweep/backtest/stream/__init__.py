"""One pass over a source that is never in memory as a whole.

The plan of a pass (what it may hold), the thread that reads ahead, and the evaluation block by
block. Studies made of passes are `sweep.study.streaming_run`.
"""
