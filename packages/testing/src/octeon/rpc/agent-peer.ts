import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import type { FakeOcteonCard } from '../card.ts'
import type { AgentConfig } from '../wire/agent-config.ts'
import type { AgentSession } from '../wire/agent-session.ts'
import type { PerstListener } from '../wire/control-plane.ts'
import { checked, type Methods } from './methods.ts'

const mac = z.object({ mac: z.string() })

/** A configuration as it crosses the socket. */
export interface WireConfig extends Omit<AgentConfig, 'vfs'> {
  /** Virtual functions with their index. */
  readonly vfs: readonly (readonly [number, { readonly mac: string }])[]
}

const wireConfig: z.ZodType<WireConfig> = z.object({
  pf: mac,
  vfs: z.array(z.tuple([z.int(), mac])),
  heartbeatMs: z.int().min(0),
  missCount: z.int().min(0),
})

const started = z.tuple([z.object({ pid: z.int(), argv: z.array(z.string()), startTicks: z.int() })])

/** How often a process of this machine has gone to sleep: the fake agent is one. */
async function turnsOf(pid: number): Promise<number> {
  return Number(/^voluntary_ctxt_switches:\s*(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** The control agent at the other end of a connection, if that is what is there; it is dead when the connection ends. */
export class AgentPeer implements Disposable {
  /** What it may call. */
  readonly methods: Methods = {
    started: (args) => this.#started(...checked(started, args)),
    open: (args) => this.#agent().open(checked(z.tuple([z.string()]), args)[0]),
    takePages: (args) => this.#agent().takePages(checked(z.tuple([z.int()]), args)[0]),
    serve: (args) => {
      const { vfs, ...config } = checked(z.tuple([wireConfig]), args)[0]
      this.#agent().serve({ ...config, vfs: new Map(vfs) })
    },
    setFirmwareReady: (args) => this.#agent().setFirmwareReady(checked(z.tuple([z.boolean()]), args)[0]),
    beat: () => this.#agent().beat(),
    stall: () => this.#agent().stall(),
  }
  readonly #card: FakeOcteonCard
  readonly #held = new DisposableStack()
  readonly #perst: PerstListener
  #session: AgentSession | undefined

  constructor(card: FakeOcteonCard, perst: PerstListener) {
    this.#card = card
    this.#perst = perst
  }

  [Symbol.dispose](): void {
    this.#held.dispose()
  }

  #started({ pid, argv, startTicks }: z.infer<typeof started>[0]): { readonly model: string } {
    const kill = (signal: NodeJS.Signals): void => void process.kill(pid, signal)
    this.#session = this.#held.use(this.#card.startAgent({ pid, argv, startTicks, kill, turns: () => turnsOf(pid) }))
    this.#held.use(this.#card.control.onPerst(this.#perst))
    return { model: this.#card.model }
  }

  #agent(): AgentSession {
    if (this.#session === undefined) throw new TypeError('an agent has to say first that it has started')
    return this.#session
  }
}
