"""The DIMSE door: C-ECHO, C-STORE, C-FIND, C-MOVE and C-GET for scanners, PACS and scripts (PS3.7, PS3.4).

pynetdicom's Upper Layer carries the associations; what is read off the network is bounded here, nothing of a data set
is decoded on its way in, and no library below writes a log line: their lines hold values.
"""

import logging

for _name in ("pynetdicom", "pydicom"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)
