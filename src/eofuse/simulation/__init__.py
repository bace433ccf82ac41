"""A simulated ben-ge: the folder layout of ben-ge-800 with made-up patches, for first use, teaching and tests.

**Never for claims.** No number that comes from this data says anything about the Earth, about ben-ge or about which
method is better. Every folder carries `simulation.json`, by which readers know it.

How a patch comes about: a scene has a place in Europe (hence climate normals, hence a climate zone), a day, an hour and
weather. Blocks of adjacent patches share one landscape: height, parcels, what covers the ground. From these follow the
land cover map, labels, reflectance and backscatter. Most class means and band components are rounded from real
pixels (`figures` says which); everything else was chosen to look plausible.

What each modality knows about each target, because of that construction:

- Sentinel-2. Land cover, dominant or by fraction: most of it, but classes overlap, change with season and scene, and
  hide under haze, cloud and snow. CLC labels: the same, and the kinds of woods and fields, less what they are used for.
  Climate zone: indirectly, by the kind of landscape, by paler ground towards the south, and by snow and greenness on a
  day that it does not know.
- Sentinel-1. Land cover and labels: water, trees and buildings, less well fields and grass, blurred by speckle and
  moisture; it sees through cloud. Climate zone: little (landscape, frost, somewhat denser woods in the south).
- Elevation. Land cover and labels: trees or bare ground where it is steep or cold; lakes and sea are level. Climate
  zone: height is half of it, and relief tells regions apart.
- Land cover map. It is the land cover target, so never an input for it. Labels: most, but not the kind of wood, field
  or water. Climate zone: indirectly, by the kind of landscape.
- Weather. Climate zone: temperature, on a day that it does not know; wind and humidity, higher near the ocean; pressure
  is height. Land cover and labels: little, by way of climate.
- Season. Alone nothing about any target; it turns weather and greenness into climate, and says how to read Sentinel-2.
- Climate zone. It is the climate target. Land cover and labels: a little (olives, bogs, sea only).

With `season`, a series of Sentinel-2 stands beside, over fields whose crops only the season tells apart: see
`eofuse.simulation.season`.

No target is a function of one modality: the map has shifted edges and mistaken parcels, labels are dropped and
confused, climate has anomalies per scene that no modality shows. As in ben-ge, season and almost all of the weather are
constant within a scene, so they identify it; the split lists are random by patch and therefore leak scenes, as a random
split of ben-ge does. Not simulated: mangroves, Köppen zones that ben-ge lacks, sensor artefacts, several tiles in one
acquisition, missing files.
"""

from eofuse.simulation.layout import simulate

__all__ = ["simulate"]
