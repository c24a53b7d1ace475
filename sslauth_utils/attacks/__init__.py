"""Ways to change an encoder, one module each: ``attack(encoder, ...) -> encoder``.

The given encoder is left untouched; the changed one is a copy.
"""
