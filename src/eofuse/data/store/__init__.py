"""The packed store: read (`store`), written (`pack`, `partial`), kept whole (`integrity`), made of others (`combine`, `subset`)."""

from eofuse.data.store.opening import open_store as open_store
from eofuse.data.store.opening import open_to_check as open_to_check
from eofuse.data.store.opening import read_description as read_description
from eofuse.data.store.opening import shared_store as shared_store
from eofuse.data.store.store import EMBEDDINGS as EMBEDDINGS
from eofuse.data.store.store import IMAGE_SERIES_VERSION as IMAGE_SERIES_VERSION
from eofuse.data.store.store import INDEX_FILE as INDEX_FILE
from eofuse.data.store.store import SAMPLE_KEYS as SAMPLE_KEYS
from eofuse.data.store.store import SCHEMA_VERSION as SCHEMA_VERSION
from eofuse.data.store.store import STORE_FILE as STORE_FILE
from eofuse.data.store.store import Rows as Rows
from eofuse.data.store.store import Store as Store
from eofuse.data.store.store import Window as Window
