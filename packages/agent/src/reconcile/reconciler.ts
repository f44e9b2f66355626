import {
  type AttachmentKey,
  type CniAdapter,
  type Clock,
  formatAttachmentKey,
  type Logger,
  OffloadError,
  type OpContext,
} from '@cni-offload/sdk'
import { deadline, Limiter, type RepairLedger } from '@cni-offload/sdk/runtime'
import type { AttachmentJournal, AttachmentRow } from '../journal/types.ts'
import type { AgentLimits } from '../limits.ts'
import type { Attachments } from '../service/attachments.ts'
import { heldKeys } from '../service/held-keys.ts'
import type { Networks } from '../service/networks.ts'
import { Agenda } from './agenda.ts'
import { repair } from './repair.ts'

/** What a {@link Reconciler} works with. */
export interface ReconcilerDeps {
  /** What should be. */
  readonly journal: Pick<AttachmentJournal, 'keys'>
  /** What is. */
  readonly networks: Networks
  /** Makes it right. */
  readonly attachments: Pick<Attachments, 'aside'>
  /** When it may act, and what it did. */
  readonly ledger: RepairLedger
  /** Time. */
  readonly clock: Clock
  /** Pauses and deadlines. */
  readonly limits: AgentLimits
  /** Log. */
  readonly log: Logger
}

type Known = Pick<AttachmentRow, 'key' | 'state' | 'revision' | 'madeBy'>

/** How many times as long as it took to look at a network it is left alone afterwards, at least. */
const REST = 4

/** Repairs that one network has under way at a time. */
const CONCURRENCY = 4

const GONE = 'the network does not hold it any more'

/**
 * Keeps the networks as the journal has them while the agent runs, whether the host is connected or not.
 *
 * It looks at what each adapter holds every few seconds, and has an adapter check each attachment thoroughly now and then. What is missing
 * or damaged is attached again; the pod keeps its addresses. An adapter that cannot tell is only reported: the pod may be well. What an adapter holds and nobody has asked for is only reported: which
 * pods run is known to the host alone, and its resync ends strays.
 */
export class Reconciler implements AsyncDisposable {
  readonly #deps: ReconcilerDeps
  readonly #stop = new AbortController()
  #running: Promise<unknown> | undefined

  /** Does nothing before {@link Reconciler.start}. */
  constructor(deps: ReconcilerDeps) {
    this.#deps = deps
  }

  /** Begins to look, unless it is switched off. */
  start(): void {
    const { networks, limits } = this.#deps
    if (limits.reconcileMs > 0) this.#running ??= Promise.all(networks.adapters.map((adapter) => this.#keep(adapter)))
  }

  /** Ends what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new OffloadError('CANCELLED', 'the agent is stopping'))
    await this.#running
  }

  /** One network on its own: one that hangs must not keep the others from being repaired. */
  async #keep(adapter: CniAdapter): Promise<void> {
    const { clock, limits } = this.#deps
    const agenda = new Agenda(clock)
    const strays = new Set<string>()
    await Promise.all([
      this.#repeat(limits.reconcileMs, () => this.#look(adapter, agenda, strays)),
      this.#repeat(limits.checkEveryMs, () => this.#checkNext(adapter, agenda)),
    ])
  }

  /** @param round - tells how long to rest at least, in milliseconds */
  async #repeat(leastMs: number, round: () => Promise<number>): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stop
    let restMs = 0
    while (!signal.aborted) {
      try {
        await clock.sleep(Math.max(leastMs, restMs), signal)
        restMs = await round()
      } catch (error) {
        if (!signal.aborted) log.error({ err: error }, 'the reconciler could not look')
      }
    }
  }

  /** @param strays - those of the look before; becomes those of this one */
  async #look(adapter: CniAdapter, agenda: Agenda, strays: Set<string>): Promise<number> {
    const { clock, journal, ledger, limits, networks } = this.#deps
    const began = clock.monotonic()
    // Before the network is asked: what is attached after that may be missing in its answer.
    const known = journal.keys()
    const held = await this.#held(adapter)
    const restMs = REST * (clock.monotonic() - began)
    if (held === undefined) return restMs
    const own = known.filter((row) => row.state === 'attached' && networks.makerOf(row) === adapter)
    const missing: Known[] = []
    for (const row of own) {
      const id = formatAttachmentKey(row.key)
      if (held.has(id)) ledger.fine(id)
      else if (ledger.confirms(id) && ledger.mayRepair(id)) missing.push(row)
    }
    this.#reportStrays(
      [...held].filter(([, key]) => networks.find(key.network) === adapter),
      known,
      strays,
    )
    agenda.set(own.map(({ key }) => key))
    const places = new Limiter(Math.min(CONCURRENCY, limits.concurrency))
    await Promise.all(missing.map((row) => places.run(this.#stop.signal, () => this.#repair(adapter, row))))
    return restMs
  }

  async #held(adapter: CniAdapter): Promise<ReadonlyMap<string, AttachmentKey> | undefined> {
    const { ledger, limits } = this.#deps
    const subject = `adapter ${adapter.name}`
    try {
      const keys = await heldKeys(adapter, this.#context({ adapter: adapter.name }), limits.callTimeoutMs)
      ledger.fine(subject)
      return new Map(keys.map((key) => [formatAttachmentKey(key), key]))
    } catch (error) {
      if (this.#stop.signal.aborted) return undefined
      const found = [`the adapter cannot tell what it holds: ${OffloadError.from(error).message}`]
      if (ledger.confirms(subject)) ledger.report(subject, { found })
      return undefined
    }
  }

  #reportStrays(held: readonly (readonly [string, AttachmentKey])[], known: readonly Known[], strays: Set<string>): void {
    const { journal, ledger } = this.#deps
    const before = new Set(known.map(({ key }) => formatAttachmentKey(key)))
    const candidates = held.filter(([id]) => !before.has(id))
    if (candidates.length === 0 && strays.size === 0) return
    const now = new Set(journal.keys().map(({ key }) => formatAttachmentKey(key)))
    const current = new Map(candidates.filter(([id]) => !now.has(id)))
    for (const id of strays) if (!current.has(id)) ledger.fine(`stray ${id}`)
    strays.clear()
    const found = ['the network holds it and nobody has asked for it: the next resync of the host ends it']
    for (const [id, key] of current) {
      strays.add(id)
      if (ledger.confirms(`stray ${id}`)) ledger.report(`stray ${id}`, { key, found })
    }
  }

  async #repair(adapter: CniAdapter, { key, revision }: Known): Promise<void> {
    const id = formatAttachmentKey(key)
    const { attachments, ledger } = this.#deps
    await this.#aside(id, () =>
      attachments.aside(key, this.#context({ key: id }), async (row, again, ctx) => {
        // Whoever has written it since has asked the adapter itself.
        if (row.revision !== revision) return
        const { wrong, untold } = await look(adapter, row, ctx)
        const why = wrong ?? untold ?? GONE
        ledger.repaired(id, await repair(row, why, again))
      }),
    )
  }

  /** Checks the attachment that has waited longest, if one is due. */
  async #checkNext(adapter: CniAdapter, agenda: Agenda): Promise<number> {
    const { attachments, ledger, limits } = this.#deps
    const key = agenda.next()
    if (key === undefined) return 0
    const id = formatAttachmentKey(key)
    const [subject, asking] = [`check ${id}`, `ask about ${id}`]
    agenda.put(key, limits.checkAgainMs)
    await this.#aside(id, () =>
      attachments.aside(key, this.#context({ key: id }), async (row, again, ctx) => {
        const { wrong, untold } = await look(adapter, row, ctx)
        if (untold !== undefined) {
          if (!ledger.confirms(asking)) return agenda.put(key, limits.reconcileMs)
          return ledger.report(asking, { key, found: [`the network cannot tell whether it is sound: ${untold}`] })
        }
        ledger.fine(asking)
        if (wrong === undefined) return ledger.fine(subject)
        if (!ledger.confirms(subject)) return agenda.put(key, limits.reconcileMs)
        if (!ledger.mayRepair(subject)) return agenda.put(key, limits.repairPauseMs)
        const verify = async (): Promise<string | undefined> => (await look(adapter, row, ctx)).wrong
        ledger.repaired(subject, await repair(row, wrong, again, verify))
      }),
    )
    return 0
  }

  /** What fails here says nothing about the attachment: somebody came in between, or the agent stops. */
  async #aside(id: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#deps.log.debug({ key: id, err: error }, 'the reconciler gave way')
    }
  }

  #context(fields: Readonly<Record<string, unknown>>): OpContext {
    const { limits, log } = this.#deps
    return { signal: deadline(this.#stop.signal, limits.callTimeoutMs), log: log.child(fields) }
  }
}

/** What an adapter says of an attachment: nothing where all is well. */
interface Finding {
  /** What differs. */
  readonly wrong?: string
  /** Why it could not tell. */
  readonly untold?: string
}

/** Asks the adapter about an attachment. @throws the signal's reason */
async function look(adapter: CniAdapter, row: AttachmentRow, ctx: OpContext): Promise<Finding> {
  const { key, vf, port, result } = row
  if (result === undefined) return { wrong: 'its result is not known' }
  try {
    await adapter.check({ key, port: { vf, name: port }, expected: result }, ctx)
    return {}
  } catch (error) {
    ctx.signal.throwIfAborted()
    const { code, message } = OffloadError.from(error, 'ADAPTER_FAILED')
    return code === 'CHECK_FAILED' ? { wrong: message } : { untold: message }
  }
}
