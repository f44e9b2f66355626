import type { DatabaseSync } from 'node:sqlite'
import { OffloadError } from '@cni-offload/sdk'

/** Version of the tables below, kept in SQLite's `user_version`. */
export const SCHEMA_VERSION: number = 1

const TABLES = `
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

/**
 * Sets the connection up and makes the tables of a new file.
 *
 * @throws OffloadError JOURNAL_FAILURE when the file was written by a newer version
 */
export function prepareSchema(db: DatabaseSync, file: string): void {
  // One process owns the journal: a second agent on the same folder must fail at once, not share ports with the first.
  // NORMAL may lose the newest transactions when the DPU loses power, never when the agent dies; adapter.list() and the
  // resync make good for them.
  db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;')
  db.exec('BEGIN IMMEDIATE')
  try {
    const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0)
    if (version > SCHEMA_VERSION)
      throw new OffloadError('JOURNAL_FAILURE', `journal ${file} has schema version ${version}, this agent knows ${SCHEMA_VERSION}`, {
        hint: 'Run the newer agent again, or drain the node and remove the file.',
      })
    if (version === 0) db.exec(`${TABLES} PRAGMA user_version = ${SCHEMA_VERSION};`)
    db.exec('COMMIT')
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
