"""The painter of each view.

A trace of a call to a drawing, for one axis in rows and for more in planes.
"""
