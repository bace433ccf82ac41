"""From labels anywhere on Earth to a store: places, catalogues of scenes, and what to fetch, in one spec.

A place is a label, or a cell of a grid; `labels` and `places` make patches of them. `catalogues` finds items, `choosing` takes those
of a patch, and `plan` keeps what was chosen, so that an interrupted collection goes on with the same. `reading` fetches pixels,
each asset opened once, `composing` makes patches of them, and `run` does it all.
"""
