import type { SQLOutputValue } from 'node:sqlite'
import {
  type AttachmentKey,
  attachmentKeySchema,
  type AttachResult,
  attachResult,
  formatAttachmentKey,
  OffloadError,
  parseWith,
  type VfId,
} from '@cni-offload/sdk'
import type { AttachIntent, AttachmentPhase, AttachmentRow, CleanupRow, VfRow, VfState } from './types.ts'

/** A row as node:sqlite gives it. The tables are STRICT with CHECK constraints, so the casts below cannot meet anything else. */
export type Row = Record<string, SQLOutputValue>

/** A text column. */
export const text = (row: Row, column: string): string => String(row[column])

/** The key columns. */
export const decodeKey = (row: Row): AttachmentKey => ({
  network: text(row, 'network'),
  containerId: text(row, 'container_id'),
  ifName: text(row, 'if_name'),
})

/** A key as parameters of a statement. */
export const keyColumns = ({ network, containerId, ifName }: AttachmentKey): [string, string, string] => [network, containerId, ifName]

/** The VF of a row. */
export const vfOf = (row: Row): VfId => ({ device: text(row, 'device'), index: Number(row['vf_index']) })

/** What stands beside the intent: the tables know no column for it. */
type StoredIntent = AttachIntent & Pick<AttachmentRow, 'userspace'>

/** The column of an intent. */
export const encodeIntent = (intent: AttachIntent, userspace: string | undefined): string =>
  JSON.stringify({ ...intent, ...(userspace === undefined ? {} : { userspace }) } satisfies StoredIntent)

/** A row of attachments joined with its VF. */
export function decodeAttachment(row: Row): AttachmentRow {
  // Both texts were written by this daemon from values that had been validated at the border.
  const { userspace, ...intent } = JSON.parse(text(row, 'intent')) as StoredIntent
  const result = row['result']
  return {
    key: intent.key,
    vf: vfOf(row),
    vfMac: text(row, 'mac'),
    ...(typeof row['pci'] === 'string' ? { pciAddress: row['pci'] } : {}),
    ...(userspace === undefined ? {} : { userspace }),
    phase: text(row, 'phase') as AttachmentPhase,
    netns: text(row, 'netns'),
    netnsIdentity: text(row, 'netns_identity'),
    pod: intent.pod,
    intent,
    ...(typeof result === 'string' ? { result: JSON.parse(result) as AttachResult } : {}),
    bootId: text(row, 'boot_id'),
    createdAt: Number(row['created_ms']),
  }
}

/** A row of the queue. */
export function decodeCleanup(row: Row): CleanupRow {
  return {
    seq: Number(row['seq']),
    key: decodeKey(row),
    vf: vfOf(row),
    release: row['release'] === 1,
    detach: row['detach'] === 1,
    netns: text(row, 'netns'),
    netnsIdentity: text(row, 'netns_identity'),
    reason: text(row, 'reason'),
  }
}

/** A row of VFs joined with who has it. */
export function decodeVf(row: Row): VfRow {
  return {
    vf: vfOf(row),
    ...(typeof row['pci'] === 'string' ? { pciAddress: row['pci'] } : {}),
    health: row['healthy'] === 1 ? 'healthy' : 'unhealthy',
    state: text(row, 'state') as VfState,
    turn: Number(row['turn']),
    reserved: row['reserved'] === 1,
    ...(row['network'] === null ? {} : { key: decodeKey(row) }),
  }
}

/** Whether the texts of an attachment's row are what was once written. @throws OffloadError JOURNAL_FAILURE, SyntaxError */
export function verifyAttachment(row: Row): void {
  const { intent, result } = decodeAttachment(row)
  const [inside, outside] = [parseWith(attachmentKeySchema, intent.key, 'intent', 'JOURNAL_FAILURE'), decodeKey(row)]
  if (formatAttachmentKey(inside) !== formatAttachmentKey(outside))
    throw new OffloadError('JOURNAL_FAILURE', `the intent of ${formatAttachmentKey(outside)} names another attachment`)
  if (result !== undefined) parseWith(attachResult, result, 'result', 'JOURNAL_FAILURE')
}
