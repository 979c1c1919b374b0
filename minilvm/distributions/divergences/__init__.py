"""The formulas of KL(p ‖ q), by what makes them short. Importing them fills the table of `minilvm.distributions.kl`.

`bregman` is the number that most of them are made of; `normals`, `families` and `outcomes` are within one family,
`across` from one family to another, `supports` where what one can do and the other cannot decides, `structures` for
laws made of laws.
"""

from minilvm.distributions.divergences import across, families, normals, outcomes, structures, supports

__all__ = ["across", "families", "normals", "outcomes", "structures", "supports"]
