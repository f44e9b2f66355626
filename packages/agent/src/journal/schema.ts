/** Version of the tables below, kept in SQLite's `user_version`. */
export const SCHEMA_VERSION: number = 1

/** Statements that make them. */
export const TABLES: string = `
  CREATE TABLE attachments (
    network      TEXT    NOT NULL,
    container_id TEXT    NOT NULL,
    if_name      TEXT    NOT NULL,
    device       TEXT    NOT NULL,
    vf_index     INTEGER NOT NULL,
    port         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('attaching', 'attached', 'detaching')),
    request      TEXT    NOT NULL,
    result       TEXT,
    revision     INTEGER NOT NULL,
    created_ms   INTEGER NOT NULL,
    PRIMARY KEY (network, container_id, if_name),
    UNIQUE (device, vf_index)
  ) STRICT;
`
