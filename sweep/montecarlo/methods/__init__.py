"""The methods of `sweep mc`, one module for each family.

Each takes the subject (variants of a study) and the request, and returns findings. Statistics on
arrays are `sweep.stats`.
"""
