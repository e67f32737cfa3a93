"""What was done, and whether it is right.

The report, the proof, the speed, and the page of them.
"""
