import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type AdapterCapabilities,
  type AttachmentKey,
  type Clock,
  type CryptoEngine,
  formatAttachmentKey,
  type Logger,
  silentLogger,
  systemClock,
} from '@cni-offload/sdk'
import { Scope } from '@cni-offload/sdk/runtime'
import type { AttachCall, CallContext, PeerIdentity, ResyncEvent } from '@cni-offload/protocol'
import type { AttachmentJournal } from '../../src/journal/types.ts'
import type { AgentLimits } from '../../src/limits.ts'
import { type Runtime, startRuntime } from '../../src/runtime/runtime.ts'
import { JOURNAL } from '../../src/runtime/tokens.ts'
import type { OffloadService } from '../../src/service/service.ts'
import { adapterPlugin, devicePlugin, FakeAdapter, FakeDevice, FakeNetwork } from './fakes.ts'

export const HOST: PeerIdentity = { role: 'host', node: 'n1' }

export const key = (containerId: string, network = 'podnet'): AttachmentKey => ({ network, containerId, ifName: 'eth0' })

export const call = (containerId: string, vf: number, more: Partial<AttachCall> = {}): AttachCall => ({
  key: key(containerId),
  pod: { namespace: 'default', name: containerId, uid: `uid-${containerId}` },
  vf: { device: 'card', index: vf },
  vfMac: `02:aa:00:00:00:${vf.toString(16).padStart(2, '0')}`,
  netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
  runtimeConfig: {},
  cniArgs: {},
  flags: { ipsec: false },
  ...more,
})

export const ctx = (more: Partial<CallContext> = {}): CallContext => ({ signal: new AbortController().signal, peer: HOST, ...more })

export interface BenchOptions {
  readonly vfs?: number
  readonly clock?: Clock
  readonly limits?: Partial<AgentLimits>
  readonly capabilities?: Partial<AdapterCapabilities>
  readonly networks?: readonly string[]
  readonly forget?: readonly string[]
  readonly log?: Logger
  readonly crypto?: CryptoEngine
}

/** An agent without sockets over a network that survives its restarts. */
export class Bench implements AsyncDisposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'agent-test-'))
  readonly network: FakeNetwork = new FakeNetwork()
  #options: BenchOptions
  readonly #clock: Clock
  device!: FakeDevice
  adapter!: FakeAdapter
  #scope!: Scope
  runtime!: Runtime

  private constructor(options: BenchOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
  }

  static async start(options: BenchOptions = {}): Promise<Bench> {
    const bench = new Bench(options)
    await bench.boot()
    return bench
  }

  get service(): OffloadService {
    return this.runtime.service
  }

  get journal(): AttachmentJournal {
    return this.#scope.get(JOURNAL)
  }

  /** Starts a run of the agent; the previous one must be over. */
  async boot(): Promise<void> {
    const { vfs = 8, limits = {}, capabilities = {}, networks = ['*'], forget = [] } = this.#options
    this.device = new FakeDevice(vfs, this.#options.crypto)
    this.adapter = new FakeAdapter(this.network, capabilities)
    // As in a configuration file, each network has an adapter of its own; all are of the same network beneath.
    const others = networks.slice(1).map((name) => [name, adapterPlugin(() => new FakeAdapter(this.network, capabilities))] as const)
    this.#scope = Scope.root()
    this.runtime = await startRuntime(
      this.#scope,
      {
        node: 'n1',
        stateDir: this.dir,
        hardware: devicePlugin(() => this.device),
        adapters: Object.fromEntries([[networks[0]!, adapterPlugin(() => this.adapter)] as const, ...others]),
        forget,
        log: this.#options.log ?? silentLogger,
        clock: this.#clock,
        // Background work would come in between what a test does step by step.
        limits: { reconcileMs: 0, ...limits },
      },
      new AbortController().signal,
    )
  }

  /** What a SIGKILL does, as far as anybody outside can see: the journal ends here and the adapter has no more effect. */
  async kill(): Promise<void> {
    this.adapter.dead = true
    this.journal[Symbol.dispose]()
    await this.#scope[Symbol.asyncDispose]()
  }

  /** An orderly restart. */
  async restart(changes: Pick<BenchOptions, 'networks' | 'forget'> = {}): Promise<void> {
    this.#options = { ...this.#options, ...changes }
    await this.#scope[Symbol.asyncDispose]()
    await this.boot()
  }

  async resync(calls: readonly AttachCall[], context: CallContext = ctx()): Promise<ResyncEvent[]> {
    const wired = async function* (): AsyncGenerator<AttachCall> {
      yield* calls
    }
    return await collect(this.service.resync(wired(), context))
  }

  /** The journal loses an attachment; the network does not. */
  forget(containerId: string): void {
    this.journal.detaching(key(containerId))
    this.journal.remove(key(containerId))
  }

  /** Journal by key, for comparisons. */
  states(): Record<string, string> {
    return Object.fromEntries(this.journal.all().map((row) => [formatAttachmentKey(row.key), row.state]))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope[Symbol.asyncDispose]()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Something that a fake can wait on; `reached` tells that it does. */
export class Barrier {
  readonly #reached = Promise.withResolvers<void>()
  readonly #open = Promise.withResolvers<void>()

  /** Waits until opened, or rejects with the signal's reason. */
  async pass(signal?: AbortSignal): Promise<void> {
    this.#reached.resolve()
    await Promise.race([
      this.#open.promise,
      new Promise<never>((_, reject) => {
        signal?.addEventListener('abort', () => {
          reject(signal.reason as Error)
        })
        if (signal?.aborted === true) reject(signal.reason as Error)
      }),
    ])
  }

  get reached(): Promise<void> {
    return this.#reached.promise
  }

  open(): void {
    this.#open.resolve()
  }
}

/** The error that something rejects with. */
export const rejection = async (promise: Promise<unknown>): Promise<{ code?: string; message: string; hint?: string; cause?: unknown }> => {
  try {
    await promise
  } catch (error) {
    return error as { code?: string; message: string }
  }
  throw new Error('it did not reject')
}

/** Everything that a stream yields. */
export const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
