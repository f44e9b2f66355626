import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import {
  type AttachRequest,
  type AttachResult,
  type CniAdapter,
  type Logger,
  type OpContext,
  silentLogger,
  systemClock,
} from '@cni-offload/sdk'
import { type BenchPort, PortBench, wirePod } from '@cni-offload/testing'
import { sriov, type SriovOptionsInput } from '../src/index.ts'

/** Tests in real namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN. */
export const unprivileged: boolean = process.getuid?.() !== 0
export const NEEDS_ROOT = '(needs root: network namespaces)'
/** Whether also what is only sampled otherwise, because it takes long, is run: `E2E_EVERYTHING=1`. */
export const EVERYTHING: boolean = process.env['E2E_EVERYTHING'] === '1'
/** Processes and namespaces on a machine that does other things, too. */
export const PATIENCE = 90_000

export const context = (log: Logger = silentLogger): OpContext => ({ signal: AbortSignal.timeout(60_000), log })

/** Ports with pods, and the adapter over them; `start` again is a restart. */
export class Lab implements AsyncDisposable {
  readonly net: LinuxNet
  readonly bench: PortBench
  readonly stateDir: string
  #adapter: CniAdapter | undefined

  private constructor(net: LinuxNet, bench: PortBench, stateDir: string) {
    this.net = net
    this.bench = bench
    this.stateDir = stateDir
  }

  static async create(ports: number, options: SriovOptionsInput = {}): Promise<Lab> {
    const net = createLinuxNet()
    const lab = new Lab(net, await PortBench.create({ net, ports }), await mkdtemp(join(tmpdir(), 'sriov-')))
    await lab.start(options)
    return lab
  }

  get adapter(): CniAdapter {
    if (this.#adapter === undefined) throw new Error('not started')
    return this.#adapter
  }

  get dpu(): string {
    return this.bench.dpuNetns
  }

  async start(options: SriovOptionsInput = {}): Promise<void> {
    await this.#adapter?.[Symbol.asyncDispose]?.()
    const deps = { log: silentLogger, clock: systemClock, stateDir: this.stateDir }
    this.#adapter = await sriov({ netns: this.dpu, ...options }).create(deps)
    const ports = this.bench.ports.map(({ port }) => port)
    await this.#adapter.start?.(ports, context())
  }

  at(index: number): BenchPort {
    const found = this.bench.ports[index]
    if (found === undefined) throw new Error(`no port ${index}`)
    return found
  }

  request(index: number, netconf: object = {}, more: Partial<AttachRequest> = {}): AttachRequest {
    const { pod, port, vfMac } = this.at(index)
    return {
      key: pod.key('sriov'),
      pod: pod.identity,
      port,
      vfMac,
      netconf: { cniVersion: '1.0.0', name: 'sriov', type: 'offload-cni', ...netconf },
      runtimeConfig: {},
      cniArgs: {},
      flags: { ipsec: false },
      ...more,
    }
  }

  /** Attaches a pod with addresses of the host's choice, and wires it. */
  async connect(index: number, netconf: object = {}, more: Partial<AttachRequest> = {}): Promise<AttachResult> {
    const hostIpam = { ips: [{ address: `10.9.0.${index + 1}/24` }, { address: `fd09::${index + 1}/64` }], routes: [], dns: {} }
    const result = await this.adapter.attach(this.request(index, netconf, { hostIpam, ...more }), context())
    await wirePod(this.net, this.at(index).pod.path, 'eth0', result)
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#adapter?.[Symbol.asyncDispose]?.()
    await this.bench[Symbol.asyncDispose]()
    await this.net[Symbol.asyncDispose]()
    await rm(this.stateDir, { recursive: true, force: true })
  }
}
