import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type AttachRequest, type CniAdapter, type OpContext, silentLogger, systemClock } from '@cni-offload/sdk'
import { type BenchPort, PortBench } from '@cni-offload/testing'
import { hello } from '../src/index.ts'
import type { HelloOptionsInput } from '../src/options.ts'

export const isRoot: boolean = process.getuid?.() === 0
export const NEEDS_ROOT = '(needs root: network namespaces)'

export const ctx = (signal: AbortSignal = AbortSignal.timeout(20_000)): OpContext => ({ signal, log: silentLogger })

/** Ports with pods, and the adapter over them; `start` again is a restart. */
export class Lab implements AsyncDisposable {
  readonly net: LinuxNet
  readonly bench: PortBench
  readonly #stateDir: string
  #adapter: CniAdapter | undefined

  private constructor(net: LinuxNet, bench: PortBench, stateDir: string) {
    this.net = net
    this.bench = bench
    this.#stateDir = stateDir
  }

  static async create(ports: number, options: HelloOptionsInput = {}): Promise<Lab> {
    const net = createLinuxNet()
    const lab = new Lab(net, await PortBench.create({ net, ports }), await mkdtemp(join(tmpdir(), 'hello-')))
    await lab.start(options)
    return lab
  }

  get adapter(): CniAdapter {
    if (this.#adapter === undefined) throw new Error('not started')
    return this.#adapter
  }

  async start(options: HelloOptionsInput = {}): Promise<void> {
    await this.#adapter?.[Symbol.asyncDispose]?.()
    const deps = { log: silentLogger, clock: systemClock, stateDir: this.#stateDir }
    this.#adapter = await hello({ netns: this.bench.dpuNetns, ...options }).create(deps)
    await this.#adapter.start?.([], ctx())
  }

  at(index: number): BenchPort {
    const found = this.bench.ports[index]
    if (found === undefined) throw new Error(`no port ${index}`)
    return found
  }

  request(index: number, more: Partial<AttachRequest> = {}): AttachRequest {
    const { pod, port, vfMac } = this.at(index)
    return {
      key: pod.key('hello'),
      pod: pod.identity,
      port,
      vfMac,
      netconf: {},
      runtimeConfig: {},
      cniArgs: {},
      flags: { ipsec: false },
      ...more,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#adapter?.[Symbol.asyncDispose]?.()
    await this.bench[Symbol.asyncDispose]()
    await this.net[Symbol.asyncDispose]()
    await rm(this.#stateDir, { recursive: true, force: true })
  }
}
