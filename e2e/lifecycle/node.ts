import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AttachmentKey, type ConfiguredPlugin, type LogFields, type Logger, silentLogger } from '@cni-offload/sdk'
import { Scope, type Token } from '@cni-offload/sdk/runtime'
import type { LinuxNet } from '@cni-offload/linux'
import type { AttachmentJournal as AgentJournal } from '../../packages/agent/src/journal/types.ts'
import { startRuntime as startAgent } from '../../packages/agent/src/runtime/runtime.ts'
import { JOURNAL as AGENT_JOURNAL } from '../../packages/agent/src/runtime/tokens.ts'
import type { AttachmentJournal as HostJournal } from '../../packages/host/src/journal/types.ts'
import { startRuntime as startHost } from '../../packages/host/src/runtime/runtime.ts'
import type { IpamJournal } from '../../packages/host/src/ipam/types.ts'
import { FALLBACK_JOURNAL, IPAM_JOURNAL, JOURNAL as HOST_JOURNAL } from '../../packages/host/src/runtime/tokens.ts'
import { createDispatcher } from '../../packages/host/src/server/dispatch.ts'
import { RecentFailures } from '../../packages/host/src/server/recent-failures.ts'
import type { RequestHandler } from '../../packages/host/src/server/socket-server.ts'
import { FakeIpam } from './fake-ipam.ts'
import { FakeKernel, FakeNetwork, HOST_NETNS } from './fake-world.ts'
import { Link } from './link.ts'
import { alone, Faults, mortal } from './parts.ts'
import { Life, type Turns } from './turns.ts'

export type Daemon = 'host' | 'agent'

interface Run<J> {
  readonly life: Life
  /** Set once it has started. */
  journal?: J
  /** Answers the shim. */
  handle?: RequestHandler
  /** Closes its files, as the kernel does for a process that was killed. */
  close(): void
}

/** Requests have to come to an end before this, in the time of the model. */
const LIMITS = { addMs: 60_000, undoMs: 15_000, agentMs: 2_000, resyncMs: 5_000, checkMs: 15_000 }

/** A node with both daemons over a kernel, a card and a network in memory. */
export class ModelNode implements Disposable {
  readonly wrong: string[] = []
  readonly kernel: FakeKernel
  readonly network: FakeNetwork
  readonly faults = new Faults()
  readonly link: Link
  readonly ipam: FakeIpam
  host: (Run<HostJournal> & { addresses?: IpamJournal }) | undefined
  agent: Run<AgentJournal> | undefined
  readonly #dir = mkdtempSync(join(tmpdir(), 'lifecycle-'))
  readonly #turns: Turns

  constructor(turns: Turns, vfs: number) {
    this.#turns = turns
    this.kernel = new FakeKernel(vfs, this.wrong)
    this.network = new FakeNetwork(vfs, this.wrong)
    this.ipam = new FakeIpam((address) => this.#userOf(address), this.wrong)
    this.link = new Link(turns)
  }

  /** Starts what is not running. */
  start(which: Daemon): void {
    if (this[which] !== undefined) return
    if (which === 'host') this.#startHost()
    else this.#startAgent()
  }

  kill(which: Daemon): void {
    const run = this[which]
    if (run === undefined) return
    this[which] = undefined
    this.#turns.kill(run.life)
    run.close()
    if (which === 'agent') this.link.serve(undefined)
  }

  #startHost(): void {
    const { life, scope, part, clock } = this.#born('the host')
    const run: NonNullable<ModelNode['host']> = { life, close: () => closeAll(scope, [HOST_JOURNAL, FALLBACK_JOURNAL, IPAM_JOURNAL]) }
    this.host = run
    const log = this.#log()
    const device = part(this.kernel.device, 'device')
    const hardware: ConfiguredPlugin<'host-device'> = { kind: 'host-device', name: 'fake', create: async () => device }
    const stateDir = join(this.#dir, 'host')
    const options = {
      node: 'n1',
      socket: join(this.#dir, 'host.sock'),
      stateDir,
      agent: { address: 'tcp://127.0.0.1:1', tls: { ca: '', cert: '', key: '' } },
      hardware,
      clock,
      limits: LIMITS,
    }
    const ipam = part(this.ipam.runner, 'ipam')
    const net = part(this.kernel.net, 'net') as LinuxNet
    const parts = { net, agent: this.link.clientFor(life), ipam: () => ipam, netns: HOST_NETNS }
    void startHost(scope, options, parts, log, new AbortController().signal).then(
      ({ verbs }) => {
        if (life.dead) return
        life.starting = false
        run.journal = verbs.journal
        run.addresses = scope.get(IPAM_JOURNAL)
        run.handle = createDispatcher({ verbs, clock, log, inspect: async () => ({}), observe: () => {}, failures: new RecentFailures() })
      },
      (error: unknown) => this.#failedToStart('host', life, error),
    )
  }

  /** Whose pod, or whose port on the DPU, an address is on. */
  #userOf(address: string): string | undefined {
    const vf = this.kernel.functions.find(({ now }) => now.addresses.includes(address))
    if (vf !== undefined) return `VF ${vf.index}`
    return [...this.network.connected].find(([, { result }]) => result.ips.some((ip) => ip.address === address))?.[0]
  }

  #startAgent(): void {
    const { life, scope, part, clock } = this.#born('the agent')
    const run: Run<AgentJournal> = { life, close: () => closeAll(scope, [AGENT_JOURNAL]) }
    this.agent = run
    const device = part(this.network.device, 'port')
    const adapter = alone(part(this.network.adapter, 'adapter'), this.wrong)
    const hardware: ConfiguredPlugin<'dpu-device'> = { kind: 'dpu-device', name: 'fake', create: async () => device }
    const plugin: ConfiguredPlugin<'adapter'> = { kind: 'adapter', name: 'fake', create: async () => adapter }
    const options = { node: 'n1', stateDir: join(this.#dir, 'agent'), hardware, adapter: plugin, log: this.#log(), clock }
    void startAgent(scope, options, new AbortController().signal).then(
      ({ service }) => {
        if (life.dead) return
        life.starting = false
        run.journal = scope.get(AGENT_JOURNAL)
        this.link.serve({ life, api: service })
      },
      (error: unknown) => this.#failedToStart('agent', life, error),
    )
  }

  /** It ends by itself then; whatever supervises it starts it again. */
  #failedToStart(which: Daemon, life: Life, error: unknown): void {
    if (life.dead) return
    this.#turns.trace.push(`  ${life.name} does not start: ${String(error)}`)
    this.kill(which)
  }

  #born(name: string) {
    const life = new Life(name)
    this.#turns.born(life)
    const part = <T extends object>(real: T, called: string): T => mortal(real, called, life, this.#turns, this.faults)
    return { life, scope: Scope.root(), part, clock: this.#turns.clock(life) }
  }

  /** Notes what only a defect of the daemons can bring about. */
  #log(): Logger {
    const look = ({ err, code }: LogFields): void => {
      const text = err instanceof Error ? err.message : ''
      if (code === 'INTERNAL' || text.includes('is refused, it may follow')) this.wrong.push(`a defect was logged: ${text}`)
    }
    const log: Logger = { ...silentLogger, warn: look, error: look, child: () => log }
    return log
  }

  [Symbol.dispose](): void {
    this.kill('host')
    this.kill('agent')
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

function closeAll(scope: Scope, tokens: readonly Token<Disposable>[]): void {
  for (const token of tokens) {
    try {
      scope.get(token)[Symbol.dispose]()
    } catch {
      // It had not come to opening it yet.
    }
  }
}

export const keyOf = (pod: string): AttachmentKey => ({ network: 'net', containerId: pod, ifName: 'eth0' })
