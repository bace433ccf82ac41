"""The explorer: one page to look at a store, run or study: a map, an embedding, thumbnails, filters, all linked.

`make` is the way in (`explore`). `subject` opens what is looked at; `columns`, `predictions`, `projection` and `pictures` say what is
shown of it; `write` puts it into one file. The page itself, which loads nothing, is in `page/`.
"""
