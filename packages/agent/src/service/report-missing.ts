import { formatAttachmentKey, type OpContext } from '@cni-offload/sdk'
import type { AttachmentJournal } from '../journal/types.ts'
import { heldKeys } from './held-keys.ts'
import type { Networks } from './networks.ts'

/** What {@link reportMissing} looks at. */
export interface ReportMissingDeps {
  /** What the agent believes. */
  readonly journal: Pick<AttachmentJournal, 'all'>
  /** What the adapters hold. */
  readonly networks: Networks
  /** Longest that one adapter's list may take, milliseconds. */
  readonly callTimeoutMs: number
}

/** Tells of attachments that the networks have lost meanwhile; the host's next resync attaches them again. */
export async function reportMissing({ journal, networks, callTimeoutMs }: ReportMissingDeps, ctx: OpContext): Promise<void> {
  const attached = journal.all().filter((row) => row.state === 'attached')
  await Promise.all(
    networks.adapters.map(async (adapter) => {
      try {
        const held = new Set((await heldKeys(adapter, ctx, callTimeoutMs)).map(formatAttachmentKey))
        for (const row of attached) {
          const key = formatAttachmentKey(row.key)
          if (networks.makerOf(row) === adapter && !held.has(key))
            ctx.log.warn({ key, pod: row.request.pod }, 'attachment is missing and waits for the resync of the host')
        }
      } catch (error) {
        ctx.log.warn({ adapter: adapter.name, err: error }, 'the adapter cannot tell yet what it holds')
      }
    }),
  )
}
