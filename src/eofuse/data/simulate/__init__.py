"""A simulated ben-ge: the folder layout of ben-ge-800 with made-up patches, for first use, teaching and tests.

**Never for claims.** No number that comes from this data says anything about the Earth, about ben-ge or about which method is
better. Every folder carries `simulation.json`, by which readers know it.

How a patch comes about: a scene has a place in Europe (hence climate normals, hence a climate zone), a day, an hour and weather.
Blocks of adjacent patches share one landscape: height, parcels, what covers the ground. From these follow the land cover map,
labels, reflectance and backscatter. Class means, spreads and band correlations are those of real pixels (`figures`); everything
else was chosen to look plausible.

What each modality knows about each target, because of that construction:

================  ==================================  ================================  ===================================
modality          climate zone                        land cover (dominant, fractions)  CLC labels
================  ==================================  ================================  ===================================
Sentinel-2        indirectly: kind of landscape,      most of it; classes overlap,      most; kinds of fields and woods
                  snow and greenness on a day that    vary with season and scene, are   better than their use
                  it does not know                    hidden by haze, cloud and snow
Sentinel-1        hardly: landscape, frost            water, trees, buildings; fields   as for land cover, and growth of
                                                      and grass blurred by speckle and  crops
                                                      moisture; sees through cloud
elevation         height is half of it; slope         where it is steep or cold: trees  forests, water, coast
                  and relief tell regions apart       or bare; lakes and sea are level
land cover map    indirectly: kind of landscape       the target itself, and never an   most; not the kind of wood, field
                                                      input for it                      or water
weather           temperature on a day that it does   little: climate decides what      little
                  not know; pressure is height        grows
season            nothing alone; turns weather and    nothing alone; says how to read   nothing alone
                  greenness into climate              Sentinel-2
climate zone      the target itself                   a little                          some (olives, bogs)
================  ==================================  ================================  ===================================

No target is a function of one modality: the map has shifted edges and mistaken parcels, labels are dropped and confused, climate
has anomalies per scene that no modality shows. As in ben-ge, season and almost all of the weather are constant within a scene, so
they identify it; the published-style split lists are random by patch and therefore leak scenes, exactly as those of ben-ge do.
Not simulated: mangroves, Köppen zones that ben-ge lacks, sensor artefacts, several tiles in one acquisition, missing files.
"""

from eofuse.data.simulate.layout import simulate

__all__ = ["simulate"]
