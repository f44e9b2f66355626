import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, relative } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { OffloadError } from '@cni-offload/sdk'
import type { LabNode } from '../model.ts'
import type { Holding, HoldingKind } from './holding.ts'

/** Folder of a node in which `host-local` keeps a file for each address that it has given away. */
const IPAM = 'ipam'

/** Files that come and go with their database, and logs, are not held by anybody. */
const COMPANIONS = /(-wal|-shm|-journal|\.log)$/

/** Rows that say that something is held, in tables that also have others. */
const HELD_ROWS: Readonly<Record<string, string>> = {
  vfs: "state <> 'free' OR healthy = 0",
  addresses: 'key IS NOT NULL',
}

const KINDS: Readonly<Record<string, HoldingKind>> = {
  vfs: 'lease',
  addresses: 'lease',
  detach_queue: 'queued clean-up',
  deletions: 'queued clean-up',
}

/** Columns that tell what a row is about; in the others are contents, and numbers that differ each time. */
const TELLING: ReadonlySet<string> = new Set([
  ...['network', 'container_id', 'if_name', 'key', 'device', 'vf_index', 'vf', 'port', 'subnet', 'offset', 'state', 'phase', 'healthy'],
])

/** Files below the folder of a node: addresses of `host-local`, device information, files set aside or forgotten. */
export async function fileHoldings(node: LabNode): Promise<Holding[]> {
  const found: Holding[] = []
  for (const path of await files(node)) {
    const name = relative(node.dir, path)
    if (COMPANIONS.test(name)) continue
    if (name.startsWith(`${IPAM}/`) && /^[0-9a-f.:]+$/.test(basename(name))) {
      // It may be given back just now.
      const owner = (await readFile(path, 'utf8').catch(() => '')).trim().split(/\s+/).join(' ')
      found.push({ node: node.name, kind: 'lease', what: `${basename(name)} of ${owner} in ${name}` })
    } else found.push({ node: node.name, kind: 'file', what: name })
  }
  return found
}

/**
 * Rows of every database of a node: the journals of both daemons and the stores of the adapters.
 *
 * @throws OffloadError JOURNAL_FAILURE while a daemon has one of them
 */
export async function rowHoldings(node: LabNode): Promise<Holding[]> {
  const databases = (await files(node)).filter((path) => path.endsWith('.db'))
  return databases.flatMap((path) =>
    rowsOf(path).map((row) => ({ node: node.name, ...row, what: `${relative(node.dir, path)}: ${row.what}` })),
  )
}

/**
 * As {@link rowHoldings}, while the daemons run: read from a copy.
 *
 * @throws OffloadError JOURNAL_FAILURE if one of them wrote while it was copied; a copy made later can be read
 */
export async function rowHoldingsOfRunning(node: LabNode): Promise<Holding[]> {
  const copy = await mkdtemp(join(tmpdir(), 'cni-offload-rows-'))
  try {
    await cp(node.dir, copy, { recursive: true, filter: (path) => !/\.(sock|log|new|tmp)$/.test(path) })
    return await rowHoldings({ ...node, dir: copy })
  } finally {
    await rm(copy, { recursive: true })
  }
}

async function files(node: LabNode): Promise<string[]> {
  const entries = await readdir(node.dir, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

function rowsOf(file: string): Omit<Holding, 'node'>[] {
  try {
    using db = new DatabaseSync(file)
    const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").all()
    return tables.flatMap(({ name }) => {
      const table = String(name)
      const rows = db.prepare(`SELECT * FROM "${table}" WHERE ${HELD_ROWS[table] ?? 'true'}`).all()
      return rows.map((row) => ({ kind: KINDS[table] ?? 'journal row', what: `${table} ${describeRow(row)}` }))
    })
  } catch (error) {
    throw OffloadError.from(error, 'JOURNAL_FAILURE', `cannot read ${file}, does its daemon still run?`)
  }
}

function describeRow(row: Readonly<Record<string, unknown>>): string {
  const columns = Object.entries(row)
  const telling = columns.filter(([name]) => TELLING.has(name))
  return (telling.length === 0 ? columns : telling).map(([name, value]) => `${name}=${String(value)}`).join(' ')
}
