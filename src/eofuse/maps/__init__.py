"""Maps of whole scenes: trained models over every pixel, written as cloud-optimised GeoTIFFs.

`maps.make` is the way in. `scene` says what is mapped and reads it, `reading` streams it band by band, `windows` cuts it, `products`
says what is written for each kind of task, `streaming` runs the model over it, `rows` keeps what is done, `geotiff`, `vectors` and
`stac` write the files.
"""
