"""Comparing: errors of frames, intervals, a verdict, and versions side by side."""
