import { type AttachResult, OffloadError } from '@cni-offload/sdk'
import type { Repaired } from '@cni-offload/sdk/runtime'
import type { AttachmentRow } from '../journal/types.ts'
import type { Attached } from '../service/attachments.ts'

const addressesOf = ({ mac, ips }: AttachResult): string => [mac, ...ips.map(({ address }) => address).toSorted()].join(', ')

/**
 * Has an attachment made again and tells how it went. What is under way when somebody comes to end the attachment is no outcome.
 *
 * @param again - attaches it again
 * @param verify - what is still wrong afterwards, where that is to be asked
 * @throws OffloadError CANCELLED when it was stopped
 */
export async function repair(
  row: AttachmentRow,
  why: string,
  again: () => Promise<Attached>,
  verify: () => Promise<string | undefined> = () => Promise.resolve(undefined),
): Promise<Repaired> {
  const what = { key: row.key, action: 'reattach', found: [why] } as const
  const failed = (reason: string): Repaired => ({ ...what, outcome: 'failed', reason })
  try {
    const { result } = await again()
    if (row.result !== undefined && addressesOf(result) !== addressesOf(row.result))
      return failed(
        `the network gave ${addressesOf(result)} instead of ${addressesOf(row.result)}: the pod has to be restarted to be reached again`,
      )
    const left = await verify()
    return left === undefined ? { ...what, outcome: 'repaired' } : failed(`attaching it again did not help: ${left}`)
  } catch (error) {
    const failure = OffloadError.from(error, 'ADAPTER_FAILED')
    if (failure.code === 'CANCELLED') throw failure
    return failed(failure.hint === undefined ? failure.message : `${failure.message} (${failure.hint})`)
  }
}
