import type { StatementSync } from 'node:sqlite'
import { formatAttachmentKey, formatVfId, OffloadError, type VfId } from '@cni-offload/sdk'
import { decodeVf, type Row, text, vfOf } from './rows.ts'
import type { LeaseRequest, VfRow } from './types.ts'

/** Queries of VFs, each row joined with who has it, but for the free ones. */
export interface VfQueries {
  /** Free, healthy and not reserved, the one that was given back longest ago first. */
  readonly pickFree: StatementSync
  /** By PCI address. */
  readonly pickPci: StatementSync
  /** By device and index. */
  readonly pickVf: StatementSync
  /** All. */
  readonly vfs: StatementSync
}

/** A VF as a lease needs it. */
export interface ChosenVf extends VfId {
  /** MAC address in its pristine state. */
  readonly mac: string
  /** PCI address, where it has one. */
  readonly pciAddress?: string
}

const anyVf = (): boolean => true

/**
 * The VF for a lease. Nothing is changed.
 *
 * @throws OffloadError NO_FREE_VF; INVALID_NETCONF when there is no VF with the device id, or it is not eligible
 */
export function chooseVf(sql: VfQueries, { deviceId, eligible = anyVf }: Pick<LeaseRequest, 'deviceId' | 'eligible'>): ChosenVf {
  return deviceId === undefined ? anyFree(sql, eligible) : theOne(sql, deviceId, eligible)
}

/** Whether there is a free, healthy, eligible VF. */
export function hasFree(sql: Pick<VfQueries, 'pickFree'>, eligible: (vf: VfId) => boolean): boolean {
  return sql.pickFree.iterate().some((row) => eligible(vfOf(row)))
}

function anyFree(sql: VfQueries, eligible: (vf: VfId) => boolean): ChosenVf {
  // As a rule the first one is taken: the rest is not even read.
  for (const row of sql.pickFree.iterate()) if (eligible(vfOf(row))) return chosen(row)
  const vfs = sql.vfs.all().map(decodeVf)
  const open = ({ vf, reserved }: VfRow): boolean => eligible(vf) && !reserved
  const kept = vfs.filter((vf) => vf.state === 'free' && !open(vf)).length
  const count = (state: VfRow['state']): number =>
    vfs.filter((vf) => vf.state === state && (state === 'free' ? open(vf) : eligible(vf.vf))).length
  throw new OffloadError(
    'NO_FREE_VF',
    `no VF is free: ${count('leased')} leased, ${count('quarantined')} quarantined, ${count('free')} unhealthy${kept === 0 ? '' : `, ${kept} kept for others`}`,
    {
      hint: 'Wait for pods to end or add VFs to the device; the log of the daemon says what keeps VFs quarantined.',
    },
  )
}

function theOne(sql: VfQueries, deviceId: string, eligible: (vf: VfId) => boolean): ChosenVf {
  const row = byDeviceId(sql, deviceId)
  const asked = `deviceID = "${deviceId}"`
  if (row === undefined)
    throw new OffloadError('INVALID_NETCONF', `${asked}: no VF of this host has that PCI address or name`, {
      hint: 'Is the resource of the device plugin made of this device’s VFs?',
    })
  const { vf, state, health, key } = decodeVf(row)
  if (!eligible(vf))
    throw new OffloadError('INVALID_NETCONF', `${asked}: VF ${formatVfId(vf)} is kept for others`, {
      hint: 'Compare the resource of the device plugin with the ports of the adapters in the agent’s configuration.',
    })
  if (state !== 'free')
    throw new OffloadError(
      'NO_FREE_VF',
      `${asked}: VF ${formatVfId(vf)} is ${state}, attachment ${key === undefined ? 'unknown' : formatAttachmentKey(key)}`,
      { hint: 'The runtime may try again when the pod that has it, or had it last, is gone.' },
    )
  if (health !== 'healthy') throw new OffloadError('NO_FREE_VF', `${asked}: VF ${formatVfId(vf)} is unhealthy`)
  return chosen(row)
}

function byDeviceId(sql: VfQueries, deviceId: string): Row | undefined {
  const named = /^(?<device>.+)\/(?<index>\d{1,9})$/.exec(deviceId)?.groups
  if (named === undefined) return sql.pickPci.get(deviceId.toLowerCase())
  return sql.pickVf.get(named['device'] ?? '', Number(named['index']))
}

function chosen(row: Row): ChosenVf {
  const vf = { ...vfOf(row), mac: text(row, 'mac') }
  return typeof row['pci'] === 'string' ? { ...vf, pciAddress: row['pci'] } : vf
}
