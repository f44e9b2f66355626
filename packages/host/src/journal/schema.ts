/** Version of the tables, kept in `user_version`. */
export const SCHEMA_VERSION: number = 1

/** Statements that make them. */
export const TABLES: string = `
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
`

/** Which VFs are reserved follows from the configuration: kept in memory, it cannot outlive it. */
export const RESERVED: string = `
  PRAGMA temp_store = MEMORY;
  CREATE TEMP TABLE reserved_vfs (device TEXT NOT NULL, vf_index INTEGER NOT NULL, PRIMARY KEY (device, vf_index)) STRICT, WITHOUT ROWID;
`

/** Rows of attachments, joined with their VFs. */
export const ATTACHMENT: string = 'SELECT a.*, v.mac, v.pci FROM attachments a JOIN vfs v USING (device, vf_index)'
