import type { DatabaseSync, SQLOutputValue, StatementSync } from 'node:sqlite'
import {
  attachResult,
  type AttachmentKey,
  attachmentKeySchema,
  type AttachResult,
  type Clock,
  formatAttachmentKey,
  formatVfId,
  OffloadError,
  parseWith,
  type VfId,
} from '@cni-offload/sdk'
import type { AttachCall } from '@cni-offload/protocol'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import { SCHEMA_VERSION, TABLES } from './schema.ts'
import type { AttachmentJournal, AttachmentPhase, AttachmentRow } from './types.ts'

type Row = Record<string, SQLOutputValue>

const PHASES: readonly string[] = ['attaching', 'attached', 'detaching'] satisfies AttachmentPhase[]

const HINT = 'Is another agent running on the same stateDir? Is the disk in order?'

/** {@link AttachmentJournal} in one SQLite file. Calls are synchronous and take some 0.1 ms. */
export class SqliteJournal implements AttachmentJournal {
  readonly #file: string
  readonly #clock: Clock
  readonly #db: DatabaseSync
  readonly #get: StatementSync
  readonly #holder: StatementSync
  readonly #all: StatementSync
  readonly #counts: StatementSync
  readonly #begin: StatementSync
  readonly #attached: StatementSync
  readonly #renewed: StatementSync
  readonly #detaching: StatementSync
  readonly #remove: StatementSync
  #revision: number

  /** The former file, when it could not be read: this journal began empty, and the resync from the host fills it. */
  readonly setAside: SetAside | undefined

  /**
   * Opens or makes the file, with its folder. One that cannot be read is set aside.
   *
   * @throws OffloadError JOURNAL_FAILURE when the file is newer, or another agent has it open
   */
  constructor(file: string, clock: Clock) {
    this.#file = file
    this.#clock = clock
    // A power cut of the DPU may lose the newest transactions: adapter.list() and the resync make good for them.
    const { db, setAside } = openState({
      file,
      owner: 'agent',
      version: SCHEMA_VERSION,
      tables: TABLES,
      survives: 'process',
      verify: (opened) => {
        for (const row of opened.prepare('SELECT * FROM attachments').all()) this.#decode(row)
      },
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    const prepare = (sql: string): StatementSync => this.#guard('prepare', () => this.#db.prepare(sql))
    const byKey = 'WHERE network = ? AND container_id = ? AND if_name = ?'
    this.#get = prepare(`SELECT * FROM attachments ${byKey}`)
    this.#holder = prepare('SELECT * FROM attachments WHERE device = ? AND vf_index = ?')
    this.#all = prepare('SELECT * FROM attachments ORDER BY created_ms, revision')
    this.#counts = prepare('SELECT state, count(*) AS n FROM attachments GROUP BY state')
    this.#begin = prepare(`
      INSERT INTO attachments (network, container_id, if_name, device, vf_index, port, state, request, result, revision, created_ms)
      VALUES (?, ?, ?, ?, ?, ?, 'attaching', ?, NULL, ?, ?)
      ON CONFLICT (network, container_id, if_name) DO UPDATE SET device = excluded.device, vf_index = excluded.vf_index, port = excluded.port,
        state = excluded.state, request = excluded.request, result = NULL, revision = excluded.revision`)
    this.#attached = prepare(`UPDATE attachments SET state = 'attached', result = ?, revision = ? ${byKey}`)
    this.#renewed = prepare(`UPDATE attachments SET port = ?, request = ?, result = ?, revision = ? ${byKey} AND state = 'attached'`)
    this.#detaching = prepare(`UPDATE attachments SET state = 'detaching', revision = ? ${byKey}`)
    this.#remove = prepare(`DELETE FROM attachments ${byKey}`)
    this.#revision = this.#guard('read', () =>
      Number(this.#db.prepare('SELECT coalesce(max(revision), 0) AS n FROM attachments').get()?.['n']),
    )
  }

  /** @inheritDoc */
  get(key: AttachmentKey): AttachmentRow | undefined {
    return this.#guard('read', () => this.#decode(this.#get.get(key.network, key.containerId, key.ifName)))
  }

  /** @inheritDoc */
  assertFree(vf: VfId, key: AttachmentKey): void {
    const holder = this.#guard('read', () => this.#decode(this.#holder.get(vf.device, vf.index)))
    if (holder === undefined || formatAttachmentKey(holder.key) === formatAttachmentKey(key)) return
    const { namespace, name } = holder.request.pod
    throw new OffloadError(
      'ALREADY_EXISTS',
      `VF ${formatVfId(vf)} of ${formatAttachmentKey(key)} is in use: ${holder.state} for ${formatAttachmentKey(holder.key)} (pod ${namespace}/${name})`,
      {
        hint: 'The host must detach the other attachment first; a resync from the host detaches strays.',
      },
    )
  }

  /** @inheritDoc */
  all(): AttachmentRow[] {
    return this.#guard('read', () => this.#all.all().flatMap((row) => this.#decode(row) ?? []))
  }

  /** @inheritDoc */
  counts(): Readonly<Record<AttachmentPhase, number>> {
    const found = new Map(this.#guard('read', () => this.#counts.all()).map((row) => [row['state'], Number(row['n'])]))
    const of = (phase: AttachmentPhase): number => found.get(phase) ?? 0
    return { attaching: of('attaching'), attached: of('attached'), detaching: of('detaching') }
  }

  /** @inheritDoc */
  begin(request: AttachCall, port: string): AttachmentRow {
    const { key, vf } = request
    this.assertFree(vf, key)
    const now = this.#clock.now()
    const revision = this.#next()
    this.#guard('write', () =>
      this.#begin.run(key.network, key.containerId, key.ifName, vf.device, vf.index, port, JSON.stringify(request), revision, now),
    )
    return { key, vf, port, state: 'attaching', request, revision }
  }

  /** @inheritDoc */
  attached(key: AttachmentKey, result: AttachResult): void {
    const { changes } = this.#guard('write', () =>
      this.#attached.run(JSON.stringify(result), this.#next(), key.network, key.containerId, key.ifName),
    )
    if (Number(changes) !== 1)
      throw new OffloadError(
        'JOURNAL_FAILURE',
        `journal ${this.#file}: attachment ${formatAttachmentKey(key)} vanished while it was being attached`,
      )
  }

  /** @inheritDoc */
  renewed(request: AttachCall, port: string, result: AttachResult): void {
    const { network, containerId, ifName } = request.key
    const written = [port, JSON.stringify(request), JSON.stringify(result), this.#next()] as const
    const { changes } = this.#guard('write', () => this.#renewed.run(...written, network, containerId, ifName))
    if (Number(changes) !== 1)
      throw new OffloadError(
        'JOURNAL_FAILURE',
        `journal ${this.#file}: attachment ${formatAttachmentKey(request.key)} was no longer attached when it had been attached again`,
      )
  }

  /** @inheritDoc */
  detaching(key: AttachmentKey): void {
    this.#guard('write', () => this.#detaching.run(this.#next(), key.network, key.containerId, key.ifName))
  }

  /** @inheritDoc */
  remove(key: AttachmentKey): void {
    this.#guard('write', () => this.#remove.run(key.network, key.containerId, key.ifName))
  }

  /** Closes the file. Attachments stay. */
  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #next(): number {
    this.#revision += 1
    return this.#revision
  }

  #decode(row: Row | undefined): AttachmentRow | undefined {
    if (row === undefined) return undefined
    const text = (name: string): string => String(row[name])
    const state = text('state')
    if (!isPhase(state))
      throw new OffloadError('JOURNAL_FAILURE', `journal ${this.#file}: state = ${state} is none of ${PHASES.join(', ')}`)
    const result = row['result']
    const key = { network: text('network'), containerId: text('container_id'), ifName: text('if_name') }
    return {
      key,
      vf: { device: text('device'), index: Number(row['vf_index']) },
      port: text('port'),
      state,
      request: requestOf(text('request'), key, this.#file),
      ...(typeof result === 'string'
        ? { result: parseWith(attachResult, JSON.parse(result), `journal ${this.#file}, result`, 'JOURNAL_FAILURE') }
        : {}),
      revision: Number(row['revision']),
    }
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, HINT, work)
  }
}

const isPhase = (text: string): text is AttachmentPhase => PHASES.includes(text)

/** Written by begin() from a request that was validated at the border; a damaged one does not name the key of its row any more. */
const requestOf = (json: string, key: AttachmentKey, file: string): AttachCall => {
  const request = JSON.parse(json) as AttachCall
  if (
    formatAttachmentKey(parseWith(attachmentKeySchema, request.key, `journal ${file}, request`, 'JOURNAL_FAILURE')) !==
    formatAttachmentKey(key)
  )
    throw new OffloadError('JOURNAL_FAILURE', `journal ${file}: the request of ${formatAttachmentKey(key)} names another attachment`)
  return request
}
