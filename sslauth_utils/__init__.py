"""Helper code of the SSL-Auth notebook suite, one module a concept.

This file imports nothing on purpose: a notebook depends only on the modules
that it names (and on what those import), so that changing one module re-runs
only the notebooks that use it.
"""
