"""Every measure that ``config/claims`` may name."""

from sslauth_utils.claims import measures_attacks, measures_generators, measures_keys, measures_verdicts

#: name to function of (rows, tau, claim), giving (measured, low, high, n)
MEASURES = {
    name: measure
    for module in (measures_verdicts, measures_attacks, measures_keys, measures_generators)
    for name, measure in module.MEASURES.items()
}
