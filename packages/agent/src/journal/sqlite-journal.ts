import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite'
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
import { LIFECYCLE_STATES, type LifecycleEvent, refusal, statesBefore } from './lifecycle.ts'
import { SCHEMA_VERSION, TABLES } from './schema.ts'
import type { AttachmentJournal, AttachmentPhase, AttachmentRow } from './types.ts'

const BY_KEY = 'network = ? AND container_id = ? AND if_name = ?'

/** A row by its key, if the event may follow its state. */
const before = (event: LifecycleEvent): string =>
  `${BY_KEY} AND state IN (${statesBefore(event)
    .map((state) => `'${state}'`)
    .join()})`

const STATEMENTS = {
  get: `SELECT * FROM attachments WHERE ${BY_KEY}`,
  holder: 'SELECT * FROM attachments WHERE device = ? AND vf_index = ?',
  all: 'SELECT * FROM attachments ORDER BY created_ms, revision',
  keys: "SELECT network, container_id, if_name, state, revision, json_extract(request, '$.madeBy') AS made_by FROM attachments",
  counts: 'SELECT state, count(*) AS n FROM attachments GROUP BY state',
  begin: `INSERT INTO attachments (network, container_id, if_name, device, vf_index, port, state, request, result, revision, created_ms)
    VALUES (?, ?, ?, ?, ?, ?, 'attaching', ?, NULL, ?, ?) ON CONFLICT (network, container_id, if_name) DO NOTHING`,
  adopt: `INSERT INTO attachments (network, container_id, if_name, device, vf_index, port, state, request, result, revision, created_ms)
    VALUES (?, ?, ?, ?, ?, ?, 'attached', ?, ?, ?, ?) ON CONFLICT (network, container_id, if_name) DO NOTHING`,
  attached: `UPDATE attachments SET state = 'attached', request = json_remove(request, '$.had'), result = ?, revision = ? WHERE ${before('attached')}`,
  renewed: `UPDATE attachments SET port = ?, request = ?, result = ?, revision = ? WHERE ${before('renewed')}`,
  detaching: `UPDATE attachments SET state = 'detaching', revision = ? WHERE ${before('detaching')}`,
  sign: `UPDATE attachments SET request = json_set(request, '$.madeBy', ?), revision = ? WHERE ${BY_KEY} AND json_extract(request, '$.madeBy') IS NULL`,
  abandon: `DELETE FROM attachments WHERE ${before('abandon')}`,
  remove: `DELETE FROM attachments WHERE ${before('remove')}`,
} as const

const keyColumns = ({ network, containerId, ifName }: AttachmentKey): [string, string, string] => [network, containerId, ifName]

type Row = Record<string, SQLOutputValue>

const PHASES: readonly string[] = LIFECYCLE_STATES.filter((state) => state !== 'absent')

const HINT = 'Is another agent running on the same stateDir? Is the disk in order?'

/** {@link AttachmentJournal} in one SQLite file, which refuses what the lifecycle does not allow. Calls are synchronous and take some 0.1 ms. */
export class SqliteJournal implements AttachmentJournal {
  readonly #file: string
  readonly #clock: Clock
  readonly #db: DatabaseSync
  readonly #sql: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>
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
    this.#sql = this.#guard(
      'prepare',
      () =>
        Object.fromEntries(Object.entries(STATEMENTS).map(([name, sql]) => [name, db.prepare(sql)])) as Record<
          keyof typeof STATEMENTS,
          StatementSync
        >,
    )
    this.#revision = this.#guard('read', () =>
      Number(this.#db.prepare('SELECT coalesce(max(revision), 0) AS n FROM attachments').get()?.['n']),
    )
  }

  /** @inheritDoc */
  get(key: AttachmentKey): AttachmentRow | undefined {
    return this.#guard('read', () => this.#decode(this.#sql.get.get(...keyColumns(key))))
  }

  /** @inheritDoc */
  assertFree(vf: VfId, key: AttachmentKey): void {
    const holder = this.#guard('read', () => this.#decode(this.#sql.holder.get(vf.device, vf.index)))
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
    return this.#guard('read', () => this.#sql.all.all().flatMap((row) => this.#decode(row) ?? []))
  }

  /** @inheritDoc */
  keys(): Pick<AttachmentRow, 'key' | 'state' | 'revision'>[] {
    return this.#guard('read', () =>
      this.#sql.keys.all().map((row) => ({
        key: keyOf(row),
        state: this.#phase(row),
        revision: Number(row['revision']),
        ...(typeof row['made_by'] === 'string' ? { madeBy: row['made_by'] } : {}),
      })),
    )
  }

  /** @inheritDoc */
  counts(): Readonly<Record<AttachmentPhase, number>> {
    const found = new Map(this.#guard('read', () => this.#sql.counts.all()).map((row) => [row['state'], Number(row['n'])]))
    const of = (phase: AttachmentPhase): number => found.get(phase) ?? 0
    return { attaching: of('attaching'), attached: of('attached'), detaching: of('detaching') }
  }

  /** @inheritDoc */
  begin(request: AttachCall, port: string, madeBy: string): AttachmentRow {
    const { key, vf } = request
    this.assertFree(vf, key)
    const revision = this.#next()
    this.#write(key, 'begin', ...keyColumns(key), vf.device, vf.index, port, written(request, madeBy), revision, this.#clock.now())
    return { key, vf, port, state: 'attaching', request, madeBy, revision }
  }

  /** @inheritDoc */
  attached(key: AttachmentKey, result: AttachResult): void {
    this.#write(key, 'attached', JSON.stringify(result), this.#next(), ...keyColumns(key))
  }

  /** @inheritDoc */
  abandon(key: AttachmentKey): void {
    this.#write(key, 'abandon', ...keyColumns(key))
  }

  /** @inheritDoc */
  renewed(request: AttachCall, port: string, result: AttachResult, madeBy: string): void {
    const { key } = request
    this.#write(key, 'renewed', port, written(request, madeBy), JSON.stringify(result), this.#next(), ...keyColumns(key))
  }

  /** @inheritDoc */
  adopt(request: AttachCall, port: string, result: AttachResult, madeBy: string): void {
    const { key, vf } = request
    this.assertFree(vf, key)
    const texts = [port, written(request, madeBy), JSON.stringify(result)] as const
    this.#write(key, 'adopt', ...keyColumns(key), vf.device, vf.index, ...texts, this.#next(), this.#clock.now())
  }

  /** @inheritDoc */
  sign(key: AttachmentKey, madeBy: string): void {
    this.#guard('write', () => this.#sql.sign.run(madeBy, this.#next(), ...keyColumns(key)))
  }

  /** @inheritDoc */
  detaching(key: AttachmentKey): void {
    this.#write(key, 'detaching', this.#next(), ...keyColumns(key))
  }

  /** @inheritDoc */
  remove(key: AttachmentKey): void {
    this.#write(key, 'remove', ...keyColumns(key))
  }

  /** Closes the file. Attachments stay. */
  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close()
  }

  /** Lets an event happen to an attachment, or refuses it. */
  #write(key: AttachmentKey, event: LifecycleEvent, ...values: SQLInputValue[]): void {
    const { changes } = this.#guard('write', () => this.#sql[event].run(...values))
    if (Number(changes) !== 1) throw refusal(this.#file, formatAttachmentKey(key), this.get(key)?.state ?? 'absent', event)
  }

  #next(): number {
    this.#revision += 1
    return this.#revision
  }

  #decode(row: Row | undefined): AttachmentRow | undefined {
    if (row === undefined) return undefined
    const text = (name: string): string => String(row[name])
    const result = row['result']
    const key = keyOf(row)
    return {
      key,
      vf: { device: text('device'), index: Number(row['vf_index']) },
      port: text('port'),
      state: this.#phase(row),
      ...readRequest(text('request'), key, this.#file),
      ...(typeof result === 'string'
        ? { result: parseWith(attachResult, JSON.parse(result), `journal ${this.#file}, result`, 'JOURNAL_FAILURE') }
        : {}),
      revision: Number(row['revision']),
    }
  }

  #phase(row: Row): AttachmentPhase {
    const state = String(row['state'])
    if (isPhase(state)) return state
    throw new OffloadError('JOURNAL_FAILURE', `journal ${this.#file}: state = ${state} is none of ${PHASES.join(', ')}`)
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, HINT, work)
  }
}

const keyOf = (row: Row): AttachmentKey => ({
  network: String(row['network']),
  containerId: String(row['container_id']),
  ifName: String(row['if_name']),
})

const isPhase = (text: string): text is AttachmentPhase => PHASES.includes(text)

/** Who made it stands within the request, where an older agent, to which an upgrade may be rolled back, does not mind it. */
const written = (request: AttachCall, madeBy: string): string => JSON.stringify({ ...request, madeBy })

/** Written from a request that was validated at the border; a damaged one does not name the key of its row any more. */
const readRequest = (json: string, key: AttachmentKey, file: string): Pick<AttachmentRow, 'request' | 'madeBy'> => {
  const { madeBy, ...request } = JSON.parse(json) as AttachCall & { readonly madeBy?: string }
  if (
    formatAttachmentKey(parseWith(attachmentKeySchema, request.key, `journal ${file}, request`, 'JOURNAL_FAILURE')) !==
    formatAttachmentKey(key)
  )
    throw new OffloadError('JOURNAL_FAILURE', `journal ${file}: the request of ${formatAttachmentKey(key)} names another attachment`)
  return { request, ...(madeBy === undefined ? {} : { madeBy }) }
}
