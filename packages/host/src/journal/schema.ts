import type { DatabaseSync } from 'node:sqlite'
import { OffloadError } from '@cni-offload/sdk'

/** Version of the tables, kept in `user_version`. */
export const SCHEMA_VERSION = 1

const TABLES = `
  CREATE TABLE vfs (
    device TEXT NOT NULL,
    vf_index INTEGER NOT NULL,
    pci TEXT,
    mac TEXT NOT NULL,
    healthy INTEGER NOT NULL CHECK (healthy IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('free', 'leased', 'quarantined')),
    turn INTEGER NOT NULL,
    PRIMARY KEY (device, vf_index)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX vfs_turn ON vfs (turn);
  CREATE INDEX vfs_free ON vfs (turn) WHERE state = 'free' AND healthy = 1;
  CREATE INDEX vfs_pci ON vfs (pci) WHERE pci IS NOT NULL;

  CREATE TABLE attachments (
    network TEXT NOT NULL,
    container_id TEXT NOT NULL,
    if_name TEXT NOT NULL,
    device TEXT NOT NULL,
    vf_index INTEGER NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('leased', 'attached', 'wired', 'detaching')),
    netns TEXT NOT NULL,
    netns_identity TEXT NOT NULL,
    intent TEXT NOT NULL,
    result TEXT,
    boot_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (network, container_id, if_name),
    UNIQUE (device, vf_index),
    FOREIGN KEY (device, vf_index) REFERENCES vfs
  ) STRICT;

  CREATE TABLE detach_queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    network TEXT NOT NULL,
    container_id TEXT NOT NULL,
    if_name TEXT NOT NULL,
    device TEXT NOT NULL,
    vf_index INTEGER NOT NULL,
    release INTEGER NOT NULL CHECK (release IN (0, 1)),
    detach INTEGER NOT NULL CHECK (detach IN (0, 1)),
    netns TEXT NOT NULL,
    netns_identity TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (device, vf_index),
    FOREIGN KEY (device, vf_index) REFERENCES vfs
  ) STRICT;
  CREATE INDEX detach_queue_key ON detach_queue (network, container_id, if_name);

  PRAGMA user_version = ${SCHEMA_VERSION};
`

/** Which VFs are reserved follows from the configuration: kept in memory, it cannot outlive it. */
const RESERVED = `
  PRAGMA temp_store = MEMORY;
  CREATE TEMP TABLE reserved_vfs (device TEXT NOT NULL, vf_index INTEGER NOT NULL, PRIMARY KEY (device, vf_index)) STRICT, WITHOUT ROWID;
`

/**
 * Makes the tables of a new file and checks the version of an old one.
 *
 * WAL with synchronous=NORMAL survives a crash of the process. A loss of power may lose the last transactions; it also
 * ends every pod, and another boot id then makes the daemon undo all that the journal still has.
 *
 * The connection keeps the file locked until it is closed or its process dies.
 *
 * @throws OffloadError JOURNAL_FAILURE when the file was written by a newer version
 */
export function prepareSchema(db: DatabaseSync, file: string): void {
  // One daemon owns the state: a second one would take what the first is just making for the remains of a crash.
  db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;')
  db.exec(RESERVED)
  db.exec('BEGIN IMMEDIATE')
  try {
    const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
    if (version > SCHEMA_VERSION)
      throw new OffloadError(
        'JOURNAL_FAILURE',
        `journal ${file} has schema version ${version}, this daemon knows up to ${SCHEMA_VERSION}`,
        {
          hint: 'Run the newer daemon, or drain the node and remove the file.',
        },
      )
    if (version === 0) db.exec(TABLES)
    db.exec('COMMIT')
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
