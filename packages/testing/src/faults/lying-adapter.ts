import { type AttachmentKey, type AttachResult, type CniAdapter, formatAttachmentKey } from '@cni-offload/sdk'
import { type AdapterMethods, wrapAdapter } from './wrap-adapter.ts'

/**
 * What an adapter lies about.
 *
 * - `attach-does-nothing`: it answers like the last attach that it really did, and connects nothing.
 * - `detach-does-nothing`: it says that it has disconnected, and everything goes on.
 * - `repeats-differently`: a repeated attach has another address than the first one.
 * - `answers-nonsense`: the answer is no result: its addresses have no prefix length.
 * - `lists-strangers`: it lists an attachment that nobody has made. `lists-nothing`: it lists none.
 * - `checks-nothing`: every check passes.
 */
export type AdapterLie =
  | 'attach-does-nothing'
  | 'detach-does-nothing'
  | 'repeats-differently'
  | 'answers-nonsense'
  | 'lists-strangers'
  | 'lists-nothing'
  | 'checks-nothing'

/** What an adapter holds that lists strangers, besides the truth. */
export const STRANGER: AttachmentKey = { network: 'podnet', containerId: 'nobody', ifName: 'eth0' }

/** A lie that can be begun and ended at any time. */
export interface LyingAdapter {
  /** The adapter. */
  readonly adapter: CniAdapter
  /** What it lies about now. */
  readonly lies: Set<AdapterLie>
}

/** An adapter that says other things than what the wrapped one does. */
export function lyingAdapter(adapter: CniAdapter, ...about: readonly AdapterLie[]): LyingAdapter {
  const lies = new Set(about)
  const seen = new Map<string, number>()
  let last: AttachResult | undefined
  const methods: Partial<AdapterMethods> = {
    async attach(req, ctx) {
      const id = formatAttachmentKey(req.key)
      const times = (seen.get(id) ?? 0) + 1
      seen.set(id, times)
      if (lies.has('attach-does-nothing') && last !== undefined) return shifted(last, seen.size)
      const made = await adapter.attach(req, ctx)
      last = made
      if (lies.has('answers-nonsense')) return { ...made, ips: made.ips.map(({ address }) => ({ address: address.replace(/\/.*/, '') })) }
      return lies.has('repeats-differently') ? shifted(made, times - 1) : made
    },
    async detach(req, ctx) {
      seen.delete(formatAttachmentKey(req.key))
      if (!lies.has('detach-does-nothing')) await adapter.detach(req, ctx)
    },
    async check(req, ctx) {
      if (!lies.has('checks-nothing')) await adapter.check(req, ctx)
    },
    async list(ctx) {
      if (lies.has('lists-nothing')) return []
      return [...(await adapter.list(ctx)), ...(lies.has('lists-strangers') ? [STRANGER] : [])]
    },
  }
  return { adapter: wrapAdapter(adapter, methods), lies }
}

/** The same with other addresses: the last digit is counted on. */
function shifted(result: AttachResult, by: number): AttachResult {
  const ips = result.ips.map((ip) => ({
    ...ip,
    address: ip.address.replace(/([0-9a-f])\//, (_, digit: string) => `${(Number.parseInt(digit, 16) + by) % 10}/`),
  }))
  return { ...result, ips }
}
