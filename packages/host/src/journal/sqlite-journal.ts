import { existsSync, rmSync, writeFileSync } from 'node:fs'
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import {
  type AttachmentKey,
  type AttachResult,
  type Clock,
  formatAttachmentKey,
  OffloadError,
  type VfHealth,
  type VfId,
  type VirtualFunction,
} from '@cni-offload/sdk'
import { guardState, openState, type SetAside } from '@cni-offload/sdk/sqlite'
import { decodeAttachment, decodeCleanup, decodeKey, decodeVf, text, verifyAttachment } from './rows.ts'
import { RESERVED as RESERVED_TABLE, SCHEMA_VERSION, TABLES } from './schema.ts'
import { chooseVf, hasFree } from './vf-choice.ts'
import type {
  AdoptedAttachment,
  AttachmentJournal,
  AttachmentPhase,
  AttachmentRow,
  CleanupRow,
  JournalCounts,
  LeaseRequest,
  VfRow,
} from './types.ts'

const BY_KEY = 'network = ? AND container_id = ? AND if_name = ?'
const BY_VF = 'device = ? AND vf_index = ?'
const ATTACHMENT = 'SELECT a.*, v.mac, v.pci FROM attachments a JOIN vfs v USING (device, vf_index)'
const RESERVED = '((device, vf_index) IN temp.reserved_vfs)'
const NEXT_TURN = '(SELECT coalesce(max(turn), 0) + 1 FROM vfs)'

// Quarantined, and nothing says whose it was.
const WITHHELD = `state = 'quarantined' AND (device, vf_index) NOT IN (SELECT device, vf_index FROM detach_queue)
  AND (device, vf_index) NOT IN (SELECT device, vf_index FROM attachments)`

const HOLDER = `${RESERVED} AS reserved, coalesce(a.network, q.network) AS network, coalesce(a.container_id, q.container_id) AS container_id,
    coalesce(a.if_name, q.if_name) AS if_name
  FROM vfs v LEFT JOIN attachments a USING (device, vf_index) LEFT JOIN detach_queue q USING (device, vf_index)`

const STATEMENTS = {
  begin: 'BEGIN IMMEDIATE',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  addVf: `INSERT INTO vfs (device, vf_index, pci, mac, healthy, state, turn) VALUES (?, ?, ?, ?, ?, 'free', ${NEXT_TURN})
    ON CONFLICT DO UPDATE SET pci = excluded.pci, mac = excluded.mac, healthy = excluded.healthy`,
  allUnhealthy: 'UPDATE vfs SET healthy = 0',
  healthOfVf: `UPDATE vfs SET healthy = ? WHERE ${BY_VF}`,
  healthOfDevice: 'UPDATE vfs SET healthy = ? WHERE device = ?',
  pickFree: `SELECT * FROM vfs WHERE state = 'free' AND healthy = 1 AND NOT ${RESERVED} ORDER BY turn`,
  pickPci: `SELECT v.*, ${HOLDER} WHERE pci = ?`,
  pickVf: `SELECT v.*, ${HOLDER} WHERE v.device = ? AND v.vf_index = ?`,
  clearReserved: 'DELETE FROM temp.reserved_vfs',
  addReserved: 'INSERT OR IGNORE INTO temp.reserved_vfs (device, vf_index) VALUES (?, ?)',
  leaseVf: `UPDATE vfs SET state = 'leased' WHERE ${BY_VF}`,
  freeVf: `UPDATE vfs SET state = 'free', turn = ${NEXT_TURN} WHERE ${BY_VF}`,
  withholdVf: `UPDATE vfs SET state = 'quarantined' WHERE ${BY_VF} AND state = 'free'`,
  readmitVf: `UPDATE vfs SET state = 'free', turn = ${NEXT_TURN} WHERE ${BY_VF} AND ${WITHHELD}`,
  adoptVf: `UPDATE vfs SET state = 'leased' WHERE ${BY_VF} AND ${WITHHELD}`,
  quarantineVf: `UPDATE vfs SET state = 'quarantined' WHERE ${BY_VF}`,
  insert: `INSERT INTO attachments (network, container_id, if_name, device, vf_index, phase, netns, netns_identity, intent, boot_id, created_ms)
    VALUES (?, ?, ?, ?, ?, 'leased', ?, ?, ?, ?, ?)`,
  get: `${ATTACHMENT} WHERE ${BY_KEY}`,
  all: `${ATTACHMENT} ORDER BY a.rowid`,
  keysOf: 'SELECT network, container_id, if_name, phase FROM attachments WHERE network = ? ORDER BY rowid',
  attached: `UPDATE attachments SET phase = 'attached', result = ? WHERE ${BY_KEY}`,
  phase: `UPDATE attachments SET phase = ? WHERE ${BY_KEY}`,
  remove: `DELETE FROM attachments WHERE ${BY_KEY} RETURNING device, vf_index, netns, netns_identity`,
  enqueue: `INSERT INTO detach_queue (network, container_id, if_name, device, vf_index, netns, netns_identity, release, detach, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  queue: 'SELECT * FROM detach_queue ORDER BY seq',
  queued: `SELECT * FROM detach_queue WHERE ${BY_KEY} ORDER BY seq`,
  progress: 'UPDATE detach_queue SET release = ?, detach = ?, reason = ? WHERE seq = ?',
  dequeue: 'DELETE FROM detach_queue WHERE seq = ? RETURNING device, vf_index',
  vfs: `SELECT v.*, ${HOLDER} ORDER BY v.device, v.vf_index`,
  countVfs: `SELECT CASE WHEN state = 'free' AND healthy = 0 THEN 'unhealthy' ELSE state END AS state, count(*) AS n FROM vfs GROUP BY 1`,
  countQueue: 'SELECT count(*) AS n FROM detach_queue',
} as const

type Statements = Record<keyof typeof STATEMENTS, StatementSync>

const keyOf = (key: AttachmentKey): [string, string, string] => [key.network, key.containerId, key.ifName]

/** How long a daemon that is just ending may take to let go of the file, in milliseconds. */
const LOCK_MS = 1_000

/** {@link AttachmentJournal} in one SQLite file. Calls are synchronous; each takes some 0.05 ms. */
export class SqliteJournal implements AttachmentJournal {
  readonly #file: string
  readonly #mark: string
  /** The former file, when it could not be read: this journal began empty. */
  readonly setAside: SetAside | undefined
  readonly #clock: Clock
  readonly #db: DatabaseSync
  readonly #sql: Statements
  readonly #vfsChanged: () => void

  /**
   * Opens or makes the file, with its folder (mode 0700). Nobody else can open it until it is closed.
   *
   * @param vfsChanged - told when health or quarantine of VFs may have changed
   * @throws OffloadError JOURNAL_FAILURE when another daemon has it, or it is no journal, damaged, or of a newer version
   */
  constructor(file: string, clock: Clock, vfsChanged: () => void = () => {}) {
    this.#file = file
    this.#clock = clock
    this.#vfsChanged = vfsChanged
    this.#mark = `${file}.rebuilding`
    // A power cut may lose the last transactions; it also ends every pod, and another boot id then makes the daemon undo all that
    // the journal still has.
    const { db, setAside } = openState({
      file,
      owner: 'host daemon',
      version: SCHEMA_VERSION,
      tables: TABLES,
      survives: 'process',
      lockMs: LOCK_MS,
      verify,
      beforeSetAside: () => writeFileSync(this.#mark, ''),
      now: () => clock.now(),
    })
    this.#db = db
    this.setAside = setAside
    try {
      this.#sql = this.#guard('open', () => {
        db.exec(RESERVED_TABLE)
        return Object.fromEntries(Object.entries(STATEMENTS).map(([name, sql]) => [name, db.prepare(sql)])) as Statements
      })
    } catch (error) {
      db.close()
      throw error
    }
  }

  /** @inheritDoc */
  get rebuilding(): boolean {
    return existsSync(this.#mark)
  }

  /** @inheritDoc */
  rebuilt(): void {
    this.#guard('write', () => rmSync(this.#mark, { force: true }))
  }

  /** @inheritDoc */
  withhold(vf: VfId): void {
    this.#write(this.#sql.withholdVf, vf.device, vf.index)
    this.#vfsChanged()
  }

  /** @inheritDoc */
  readmit(vf: VfId): void {
    this.#write(this.#sql.readmitVf, vf.device, vf.index)
    this.#vfsChanged()
  }

  /** @inheritDoc */
  adopt({ intent, vf, result, bootId }: AdoptedAttachment): boolean {
    return this.#transaction(() => {
      const { device, index } = vf
      if (this.#sql.get.get(...keyOf(intent.key)) !== undefined || Number(this.#sql.adoptVf.run(device, index).changes) !== 1) return false
      this.#sql.insert.run(...keyOf(intent.key), device, index, '', '', JSON.stringify(intent), bootId, this.#clock.now())
      this.#sql.attached.run(JSON.stringify(result), ...keyOf(intent.key))
      this.#sql.phase.run('wired', ...keyOf(intent.key))
      return true
    })
  }

  /** @inheritDoc */
  syncVfs(found: readonly VirtualFunction[]): void {
    this.#transaction(() => {
      this.#sql.allUnhealthy.run()
      for (const vf of found) this.#sql.addVf.run(vf.id.device, vf.id.index, vf.pciAddress ?? null, vf.mac, vf.health === 'healthy' ? 1 : 0)
    })
    this.#vfsChanged()
  }

  /** @inheritDoc */
  reserve(vfs: readonly VfId[]): void {
    this.#transaction(() => {
      this.#sql.clearReserved.run()
      for (const { device, index } of vfs) this.#sql.addReserved.run(device, index)
    })
  }

  /** @inheritDoc */
  setHealth(of: { readonly device: string; readonly index?: number }, health: VfHealth): void {
    const healthy = health === 'healthy' ? 1 : 0
    if (of.index === undefined) this.#write(this.#sql.healthOfDevice, healthy, of.device)
    else this.#write(this.#sql.healthOfVf, healthy, of.device, of.index)
    this.#vfsChanged()
  }

  /** @inheritDoc */
  lease(request: LeaseRequest): AttachmentRow {
    const { intent } = request
    return this.#transaction(() => {
      if (this.#sql.get.get(...keyOf(intent.key)) !== undefined)
        throw new OffloadError('ALREADY_EXISTS', `attachment ${formatAttachmentKey(intent.key)} exists already`)
      const vf = chooseVf(this.#sql, request)
      const { device, index } = vf
      const now = this.#clock.now()
      this.#sql.leaseVf.run(device, index)
      const texts = [request.netns, request.netnsIdentity, JSON.stringify(intent), request.bootId]
      this.#sql.insert.run(...keyOf(intent.key), device, index, ...texts, now)
      const { netns, netnsIdentity, bootId } = request
      const { mac: vfMac, pciAddress } = vf
      const lease = {
        key: intent.key,
        vf: { device, index },
        vfMac,
        phase: 'leased' as const,
        netns,
        netnsIdentity,
        pod: intent.pod,
        intent,
        bootId,
        createdAt: now,
      }
      return pciAddress === undefined ? lease : { ...lease, pciAddress }
    })
  }

  /** @inheritDoc */
  get(key: AttachmentKey): AttachmentRow | undefined {
    const row = this.#guard('read', () => this.#sql.get.get(...keyOf(key)))
    return row === undefined ? undefined : decodeAttachment(row)
  }

  /** @inheritDoc */
  all(): AttachmentRow[] {
    return this.#guard('read', () => this.#sql.all.all().map(decodeAttachment))
  }

  /** @inheritDoc */
  keysOf(network: string, phases: readonly AttachmentPhase[]): AttachmentKey[] {
    const wanted: readonly string[] = phases
    return this.#guard('read', () =>
      this.#sql.keysOf
        .all(network)
        .filter((row) => wanted.includes(text(row, 'phase')))
        .map(decodeKey),
    )
  }

  /** @inheritDoc */
  attached(key: AttachmentKey, result: AttachResult): void {
    this.#one(key, this.#write(this.#sql.attached, JSON.stringify(result), ...keyOf(key)))
  }

  /** @inheritDoc */
  wired(key: AttachmentKey): void {
    this.#one(key, this.#write(this.#sql.phase, 'wired', ...keyOf(key)))
  }

  /** @inheritDoc */
  detaching(key: AttachmentKey): void {
    this.#one(key, this.#write(this.#sql.phase, 'detaching', ...keyOf(key)))
  }

  /** @inheritDoc */
  free(key: AttachmentKey): void {
    this.#transaction(() => {
      const { vf } = this.#remove(key)
      this.#sql.freeVf.run(vf.device, vf.index)
    })
  }

  /** @inheritDoc */
  quarantine(key: AttachmentKey, left: { readonly release: boolean; readonly detach: boolean; readonly reason: string }): void {
    this.#transaction(() => {
      const { vf, netns, netnsIdentity } = this.#remove(key)
      this.#sql.quarantineVf.run(vf.device, vf.index)
      this.#sql.enqueue.run(
        ...keyOf(key),
        vf.device,
        vf.index,
        netns,
        netnsIdentity,
        left.release ? 1 : 0,
        left.detach ? 1 : 0,
        left.reason,
      )
    })
    this.#vfsChanged()
  }

  /** @inheritDoc */
  queue(): CleanupRow[] {
    return this.#guard('read', () => this.#sql.queue.all().map(decodeCleanup))
  }

  /** @inheritDoc */
  queued(key: AttachmentKey): CleanupRow[] {
    return this.#guard('read', () => this.#sql.queued.all(...keyOf(key)).map(decodeCleanup))
  }

  /** @inheritDoc */
  progress(seq: number, left: { readonly release: boolean; readonly detach: boolean; readonly reason: string }): void {
    this.#write(this.#sql.progress, left.release ? 1 : 0, left.detach ? 1 : 0, left.reason, seq)
  }

  /** @inheritDoc */
  finish(seq: number): void {
    this.#transaction(() => {
      const row = this.#sql.dequeue.get(seq)
      if (row !== undefined) this.#sql.freeVf.run(text(row, 'device'), Number(row['vf_index']))
    })
    this.#vfsChanged()
  }

  /** @inheritDoc */
  vfs(): VfRow[] {
    return this.#guard('read', () => this.#sql.vfs.all().map(decodeVf))
  }

  /** @inheritDoc */
  hasFree(eligible: (vf: VfId) => boolean): boolean {
    return this.#guard('read', () => hasFree(this.#sql, eligible))
  }

  /** @inheritDoc */
  counts(): JournalCounts {
    return this.#guard('read', () => {
      const vfs = new Map(this.#sql.countVfs.all().map((row) => [row['state'], Number(row['n'])]))
      const of = (state: string): number => vfs.get(state) ?? 0
      return {
        vfs: { free: of('free'), leased: of('leased'), quarantined: of('quarantined'), unhealthy: of('unhealthy') },
        queue: Number(this.#sql.countQueue.get()?.['n']),
      }
    })
  }

  /** Closes the file. What is in it stays. */
  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #remove(key: AttachmentKey): { vf: VfId; netns: string; netnsIdentity: string } {
    const row = this.#sql.remove.get(...keyOf(key))
    if (row === undefined)
      throw new OffloadError('JOURNAL_FAILURE', `journal ${this.#file}: attachment ${formatAttachmentKey(key)} has vanished`)
    return {
      vf: { device: text(row, 'device'), index: Number(row['vf_index']) },
      netns: text(row, 'netns'),
      netnsIdentity: text(row, 'netns_identity'),
    }
  }

  #one(key: AttachmentKey, changes: number): void {
    if (changes !== 1)
      throw new OffloadError('JOURNAL_FAILURE', `journal ${this.#file}: attachment ${formatAttachmentKey(key)} has vanished`)
  }

  #write(statement: StatementSync, ...values: SQLInputValue[]): number {
    return this.#guard('write', () => Number(statement.run(...values).changes))
  }

  #transaction<T>(work: () => T): T {
    return this.#guard('write', () => {
      this.#sql.begin.run()
      try {
        const done = work()
        this.#sql.commit.run()
        return done
      } catch (error) {
        // A full disk has ended the transaction already.
        if (this.#db.isTransaction) this.#sql.rollback.run()
        throw error
      }
    })
  }

  #guard<T>(what: string, work: () => T): T {
    return guardState(this.#file, what, 'Is the disk in order?', work)
  }
}

function verify(db: DatabaseSync): void {
  db.prepare(ATTACHMENT).all().forEach(verifyAttachment)
  const orphans = db.prepare(
    `SELECT count(*) AS n FROM attachments a LEFT JOIN vfs v USING (device, vf_index) WHERE v.state IS NOT 'leased'`,
  )
  if (Number(orphans.get()?.['n']) > 0) throw new OffloadError('JOURNAL_FAILURE', 'an attachment has a VF that is not leased')
}
