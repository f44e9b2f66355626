import type { StatementSync } from 'node:sqlite'
import { formatVfId, type VfAdminSetting, type VfHealth, type VfId, type VirtualFunction } from '@cni-offload/sdk'
import type { JournalFile } from './journal-file.ts'
import { type LeaseEvent, refusal } from './lifecycle.ts'
import { decodeVf } from './rows.ts'
import type { JournalCounts, LeaseRequest, VfRow } from './types.ts'
import { type ChosenVf, chooseVf, hasFree } from './vf-choice.ts'

const BY_VF = 'device = ? AND vf_index = ?'
const RESERVED = '((device, vf_index) IN temp.reserved_vfs)'
const NEXT_TURN = '(SELECT coalesce(max(turn), 0) + 1 FROM vfs)'

// Whose it is or was stands in the other tables; of one that is withheld there is nothing.
const WITHHELD = `state = 'quarantined' AND (device, vf_index) NOT IN (SELECT device, vf_index FROM detach_queue)
  AND (device, vf_index) NOT IN (SELECT device, vf_index FROM attachments)`

const HOLDER = `${RESERVED} AS reserved, coalesce(a.network, q.network) AS network, coalesce(a.container_id, q.container_id) AS container_id,
    coalesce(a.if_name, q.if_name) AS if_name
  FROM vfs v LEFT JOIN attachments a USING (device, vf_index) LEFT JOIN detach_queue q USING (device, vf_index)`

const STATEMENTS = {
  add: `INSERT INTO vfs (device, vf_index, pci, mac, healthy, state, turn) VALUES (?, ?, ?, ?, ?, 'free', ${NEXT_TURN})
    ON CONFLICT DO UPDATE SET pci = excluded.pci, mac = excluded.mac, healthy = excluded.healthy`,
  allUnhealthy: 'UPDATE vfs SET healthy = 0',
  healthOfVf: `UPDATE vfs SET healthy = ? WHERE ${BY_VF}`,
  healthOfDevice: 'UPDATE vfs SET healthy = ? WHERE device = ?',
  pickFree: `SELECT * FROM vfs WHERE state = 'free' AND healthy = 1 AND NOT ${RESERVED} ORDER BY turn`,
  pickPci: `SELECT v.*, ${HOLDER} WHERE pci = ?`,
  pickVf: `SELECT v.*, ${HOLDER} WHERE v.device = ? AND v.vf_index = ?`,
  vfs: `SELECT v.*, ${HOLDER} ORDER BY v.device, v.vf_index`,
  clearReserved: 'DELETE FROM temp.reserved_vfs',
  addReserved: 'INSERT OR IGNORE INTO temp.reserved_vfs (device, vf_index) VALUES (?, ?)',
  lease: `UPDATE vfs SET state = 'leased' WHERE ${BY_VF} AND state = 'free'`,
  free: `UPDATE vfs SET state = 'free', turn = ${NEXT_TURN} WHERE ${BY_VF} AND state = 'leased'`,
  quarantine: `UPDATE vfs SET state = 'quarantined' WHERE ${BY_VF} AND state = 'leased'`,
  finish: `UPDATE vfs SET state = 'free', turn = ${NEXT_TURN} WHERE ${BY_VF} AND state = 'quarantined'`,
  withhold: `UPDATE vfs SET state = 'quarantined' WHERE ${BY_VF} AND state = 'free'`,
  readmit: `UPDATE vfs SET state = 'free', turn = ${NEXT_TURN} WHERE ${BY_VF} AND ${WITHHELD}`,
  adopt: `UPDATE vfs SET state = 'leased' WHERE ${BY_VF} AND ${WITHHELD}`,
  counts: `SELECT CASE WHEN state = 'free' AND healthy = 0 THEN 'unhealthy' ELSE state END AS state, count(*) AS n FROM vfs GROUP BY 1`,
} as const

/** What the hardware has, and what of it can be leased. What it changes belongs into a transaction of its caller. */
export class VfTable {
  readonly #file: string
  readonly #sql: Readonly<Record<keyof typeof STATEMENTS, StatementSync>>
  readonly #withdrawn = new Map<string, VfId>()
  /** What the hardware has said of each: looked at anew by each run of the daemon, and therefore not on disk. */
  #found: ReadonlyMap<string, VirtualFunction> = new Map()

  /** Prepares its statements. */
  constructor(file: JournalFile) {
    this.#file = file.path
    this.#sql = file.prepare(STATEMENTS)
  }

  /** As {@link AttachmentJournal.syncVfs}. */
  sync(found: readonly VirtualFunction[]): void {
    this.#sql.allUnhealthy.run()
    for (const { id, pciAddress, mac, health } of found)
      this.#sql.add.run(id.device, id.index, pciAddress ?? null, mac, health === 'healthy' ? 1 : 0)
    this.#keepWithdrawn()
    this.#found = new Map(found.map((vf) => [formatVfId(vf.id), vf]))
  }

  /** What the hardware says that a VF's physical function can make of it. */
  enforceable(vf: VfId): readonly VfAdminSetting[] {
    return this.#found.get(formatVfId(vf))?.capabilities.admin ?? []
  }

  /** Userspace driver that the hardware says a VF to have. */
  userspace(vf: VfId): string | undefined {
    return this.#found.get(formatVfId(vf))?.userspace
  }

  /** As {@link AttachmentJournal.withdraw}. */
  withdraw(vf: VfId): void {
    this.#withdrawn.set(formatVfId(vf), vf)
    this.#keepWithdrawn()
  }

  /** As {@link AttachmentJournal.restore}. */
  restore(vf: VfId): void {
    this.#withdrawn.delete(formatVfId(vf))
    this.setHealth(vf, 'healthy')
  }

  /** As {@link AttachmentJournal.reserve}. */
  reserve(vfs: readonly VfId[]): void {
    this.#sql.clearReserved.run()
    for (const { device, index } of vfs) this.#sql.addReserved.run(device, index)
  }

  /** As {@link AttachmentJournal.setHealth}. */
  setHealth({ device, index }: { readonly device: string; readonly index?: number }, health: VfHealth): void {
    const healthy = health === 'healthy' ? 1 : 0
    if (index === undefined) this.#sql.healthOfDevice.run(healthy, device)
    else this.#sql.healthOfVf.run(healthy, device, index)
    this.#keepWithdrawn()
  }

  /** Leases the VF that suits a request best. @throws OffloadError NO_FREE_VF, INVALID_NETCONF */
  lease(request: LeaseRequest): ChosenVf {
    const { deviceId, eligible } = request
    const vf = chooseVf(this.#sql, deviceId === undefined ? { eligible: this.#withInterface(eligible) } : request)
    this.move(vf, 'lease')
    return vf
  }

  /** Lets an event happen to a VF. One that becomes free is the last in turn. @throws OffloadError JOURNAL_FAILURE if it is refused */
  move(vf: VfId, event: 'lease' | 'free' | 'quarantine' | 'finish'): void {
    if (this.#changed(vf, event)) return
    const row = this.#sql.pickVf.get(vf.device, vf.index)
    throw refusal(this.#file, `VF ${formatVfId(vf)}`, row === undefined ? undefined : decodeVf(row).state, event)
  }

  /** Lets an event happen to a VF, or nothing if that is not possible. Returns whether it happened. */
  tryMove(vf: VfId, event: 'withhold' | 'readmit' | 'adopt'): boolean {
    return this.#changed(vf, event)
  }

  /** All VFs. */
  all(): VfRow[] {
    return this.#sql.vfs.all().map((row) => {
      const vf = decodeVf(row)
      const userspace = this.userspace(vf.vf)
      return userspace === undefined ? vf : { ...vf, userspace }
    })
  }

  /** Whether there is a free, healthy, eligible VF. */
  hasFree(eligible: (vf: VfId) => boolean): boolean {
    return hasFree(this.#sql, this.#withInterface(eligible))
  }

  /** How many there are in each state. */
  counts(): JournalCounts['vfs'] {
    const counted = new Map(this.#sql.counts.all().map((row) => [row['state'], Number(row['n'])]))
    const of = (state: string): number => counted.get(state) ?? 0
    return { free: of('free'), leased: of('leased'), quarantined: of('quarantined'), unhealthy: of('unhealthy') }
  }

  /** Whoever names no VF wants an interface. */
  #withInterface(eligible: (vf: VfId) => boolean = () => true): (vf: VfId) => boolean {
    return (vf) => this.userspace(vf) === undefined && eligible(vf)
  }

  #keepWithdrawn(): void {
    for (const { device, index } of this.#withdrawn.values()) this.#sql.healthOfVf.run(0, device, index)
  }

  #changed({ device, index }: VfId, event: LeaseEvent & keyof typeof STATEMENTS): boolean {
    return Number(this.#sql[event].run(device, index).changes) === 1
  }
}
