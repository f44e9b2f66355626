import type { CniAdapter } from '@cni-offload/sdk'

/** A method of an adapter that a test may replace. */
export type AdapterMethods = Pick<CniAdapter, 'attach' | 'detach' | 'check' | 'status' | 'list'>

/** An adapter with some methods replaced; all others are the wrapped one's. */
export function wrapAdapter(adapter: CniAdapter, replaced: Partial<AdapterMethods>): CniAdapter {
  return {
    name: adapter.name,
    specVersion: adapter.specVersion,
    // May change while it runs.
    get capabilities() {
      return adapter.capabilities
    },
    start: async (ports, ctx) => await adapter.start?.(ports, ctx),
    attach: (req, ctx) => adapter.attach(req, ctx),
    detach: (req, ctx) => adapter.detach(req, ctx),
    check: (req, ctx) => adapter.check(req, ctx),
    status: (ctx) => adapter.status(ctx),
    list: (ctx) => adapter.list(ctx),
    [Symbol.asyncDispose]: async () => await adapter[Symbol.asyncDispose]?.(),
    ...replaced,
  }
}
