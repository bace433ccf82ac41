"""The packed store: read (`store`), written (`pack`, `partial`), kept whole (`integrity`), made of others (`combine`, `subset`)."""

from eofuse.data.store.store import (
    INDEX_FILE,
    SAMPLE_KEYS,
    SCHEMA_VERSION,
    STORE_FILE,
    Rows,
    Store,
    Window,
    open_store,
    open_to_check,
    read_description,
)

__all__ = [
    "INDEX_FILE",
    "SAMPLE_KEYS",
    "SCHEMA_VERSION",
    "STORE_FILE",
    "Rows",
    "Store",
    "Window",
    "open_store",
    "open_to_check",
    "read_description",
]
