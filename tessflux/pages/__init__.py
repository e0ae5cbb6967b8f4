"""Pages that somebody leaves open all night: is all well, and how dark is it?

In:   a snapshot, the register of photometers and their history, whenever somebody looks.
Out:  `PhotometerPages.pages`: HTML, and the photometers as JSON.

A page is made here, whole, and needs nothing from elsewhere; without JavaScript all of it works, it only
refreshes less smoothly. `html` escapes by construction, `frame` has what is around each page, `front`,
`photometer` and `listing` are the pages, `selection` says which photometers, `night` what is in a night,
`chart` and `way` draw, `sparks` draws once what changes seldom, `slices` keeps the reactor free, and `site`
asks the others for what a page shows.
"""

from tessflux.pages.listing import Listed, Listing
from tessflux.pages.selection import LISTED, SILENT
from tessflux.pages.site import LIST, PhotometerPages

__all__ = ["LIST", "LISTED", "SILENT", "Listed", "Listing", "PhotometerPages"]
