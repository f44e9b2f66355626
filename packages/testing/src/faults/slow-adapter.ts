import { type Clock, type CniAdapter, type OpContext, systemClock } from '@cni-offload/sdk'
import { type AdapterMethods, wrapAdapter } from './wrap-adapter.ts'

/** How slow an adapter is. */
export interface Slowness {
  /** How long each method takes longer, in milliseconds; 0, if absent. */
  readonly ms: Partial<Readonly<Record<keyof AdapterMethods, number>>>
  /** Whether the time passes before the method does its work or after it. @defaultValue 'before' */
  readonly when?: 'before' | 'after'
  /** Whether it goes on although its caller has given up, as a plugin does that hangs. @defaultValue false */
  readonly deaf?: boolean
  /** @defaultValue the machine's */
  readonly clock?: Clock
}

/** An adapter that does all that the wrapped one does, only slower. */
export function slowAdapter(adapter: CniAdapter, { ms, when = 'before', deaf = false, clock = systemClock }: Slowness): CniAdapter {
  const slowly = async <T>(method: keyof AdapterMethods, ctx: OpContext, work: (ctx: OpContext) => Promise<T>): Promise<T> => {
    const signal = deaf ? new AbortController().signal : ctx.signal
    const wait = async (): Promise<void> => await clock.sleep(ms[method] ?? 0, signal)
    if (when === 'before') await wait()
    const result = await work({ ...ctx, signal })
    if (when === 'after') await wait()
    return result
  }
  return wrapAdapter(adapter, {
    attach: (req, ctx) => slowly('attach', ctx, (inner) => adapter.attach(req, inner)),
    detach: (req, ctx) => slowly('detach', ctx, (inner) => adapter.detach(req, inner)),
    check: (req, ctx) => slowly('check', ctx, (inner) => adapter.check(req, inner)),
    status: (ctx) => slowly('status', ctx, (inner) => adapter.status(inner)),
    list: (ctx) => slowly('list', ctx, (inner) => adapter.list(inner)),
  })
}
