"""Where tasks run: one seam, shaped like `concurrent.futures.Executor`."""
