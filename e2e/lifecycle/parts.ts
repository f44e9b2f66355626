import { type CniAdapter, type DetachRequest, formatAttachmentKey, OffloadError, type OpContext } from '@cni-offload/sdk'
import type { Life, Turns } from './turns.ts'

/** How the next call of a part goes wrong: before its effect, or after it. */
export type Fate = 'before' | 'after'

/** Failures that are to happen, by `part.method`. */
export class Faults {
  readonly #due = new Map<string, Fate>()

  set(what: string, fate: Fate): void {
    this.#due.set(what, fate)
  }

  take(what: string): Fate | undefined {
    const fate = this.#due.get(what)
    this.#due.delete(what)
    return fate
  }

  clear(): void {
    this.#due.clear()
  }
}

/** One run of an adapter that may rely on its contract: calls for the same attachment or port never overlap. */
export function alone(adapter: CniAdapter, wrong: string[]): CniAdapter {
  const busy = new Set<string>()
  const guarded =
    <R extends DetachRequest, T>(call: (req: R, ctx: OpContext) => Promise<T>) =>
    async (req: R, ctx: OpContext): Promise<T> => {
      const held = [formatAttachmentKey(req.key), ...(req.port === undefined ? [] : [req.port.name])]
      for (const name of held) if (busy.has(name)) wrong.push(`the adapter is called for ${name} while another call uses it`)
      for (const name of held) busy.add(name)
      try {
        return await call(req, ctx)
      } finally {
        for (const name of held) busy.delete(name)
      }
    }
  const { attach, detach, check } = adapter
  return { ...adapter, list: adapter.list, status: adapter.status, attach: guarded(attach), detach: guarded(detach), check: guarded(check) }
}

const signalOf = (context: unknown): AbortSignal | undefined =>
  typeof context === 'object' && context !== null && 'signal' in context && context.signal instanceof AbortSignal
    ? context.signal
    : undefined

/**
 * A part as one run of a daemon has it: each call waits for its turn before and after its effect, fails when it is told to,
 * heeds the signal in its last argument, and never comes back once the daemon is dead.
 */
export function mortal<T extends object>(real: T, name: string, life: Life, turns: Turns, faults: Faults): T {
  return new Proxy(real, {
    get(target, method, receiver) {
      const own: unknown = Reflect.get(target, method, receiver)
      if (typeof own !== 'function' || method === 'watch' || method === 'start') return own
      const call = `${name}.${String(method)}`
      return async (...args: unknown[]): Promise<unknown> => {
        await turns.turn(life, call)
        const fate = faults.take(call)
        const signal = signalOf(args.at(-1))
        signal?.throwIfAborted()
        if (fate === 'before') throw new OffloadError('HARDWARE_FAILURE', `${call} was told to fail`)
        const done: unknown = await Reflect.apply(own, target, args)
        await turns.turn(life, `${call} is done`)
        signal?.throwIfAborted()
        if (fate === 'after') throw new OffloadError('HARDWARE_FAILURE', `${call} was told to fail after its effect`)
        return done
      }
    },
  })
}
