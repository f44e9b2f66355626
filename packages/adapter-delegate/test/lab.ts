import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type AttachRequest, type CniAdapter, type OpContext, type PluginDeps, silentLogger, systemClock } from '@cni-offload/sdk'
import { PortBench, uniqueName } from '@cni-offload/testing'
import { delegate, type DelegateOptionsInput, type PluginConf, ProxyNamespace } from '../src/index.ts'

export const isRoot: boolean = process.getuid?.() === 0
export const NEEDS_ROOT = '(needs root: network namespaces)'
export const CNI_PATH = '/usr/lib/cni'

export const ctx = (signal: AbortSignal = AbortSignal.timeout(25_000)): OpContext => ({ signal, log: silentLogger })

/** Ports with pods, a DPU namespace, folders, and the adapter over them. */
export class Lab implements AsyncDisposable {
  readonly net: LinuxNet
  readonly bench: PortBench
  readonly folder: string
  readonly prefix: string = uniqueName('px').slice(0, 15)
  readonly deps: PluginDeps
  #adapter: CniAdapter | undefined

  private constructor(net: LinuxNet, bench: PortBench, folder: string) {
    this.net = net
    this.bench = bench
    this.folder = folder
    this.deps = { log: silentLogger, clock: systemClock, stateDir: join(folder, 'state') }
  }

  /** @param dad - whether the DPU's addresses wait for duplicate address detection, as they do on most machines; it takes 1–2 s */
  static async create(ports: number, dad: boolean = false): Promise<Lab> {
    const net = createLinuxNet()
    const folder = await mkdtemp(join(tmpdir(), 'delegate-'))
    await mkdir(join(folder, 'bin'))
    const lab = new Lab(net, await PortBench.create({ net, ports }), folder)
    await net.apply(lab.bench.dpuNetns, [{ op: 'sysctl', key: 'net.ipv6.conf.default.accept_dad', value: dad ? '1' : '0' }])
    return lab
  }

  get adapter(): CniAdapter {
    if (this.#adapter === undefined) throw new Error('not started')
    return this.#adapter
  }

  /** Starts the adapter, after disposing the one before: a restart. @param shared - whether other adapters may attach the ports, too */
  async start(
    plugins: readonly PluginConf[],
    options: Partial<DelegateOptionsInput> = {},
    cniVersion: '0.4.0' | '1.0.0' | '1.1.0' = '1.0.0',
    shared: boolean = false,
  ): Promise<CniAdapter> {
    await this.stop()
    const configured = delegate({
      conflist: options.conflistFile === undefined ? { cniVersion, name: 'labnet', plugins } : undefined,
      cniPath: [join(this.folder, 'bin'), CNI_PATH],
      proxyPrefix: this.prefix,
      netns: this.bench.dpuNetns,
      execTimeoutMs: 20_000,
      ...options,
    })
    this.#adapter = await configured.create(this.deps)
    await this.#adapter.start?.(
      this.bench.ports.map(({ port }) => (shared ? { ...port, shared } : port)),
      ctx(),
    )
    return this.#adapter
  }

  async stop(): Promise<void> {
    await this.#adapter?.[Symbol.asyncDispose]?.()
    this.#adapter = undefined
  }

  request(index: number, more: Partial<AttachRequest> = {}): AttachRequest {
    const { pod, port, vfMac } = this.at(index)
    return {
      key: pod.key('podnet'),
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

  at(index: number): PortBench['ports'][number] {
    const found = this.bench.ports[index]
    if (found === undefined) throw new Error(`no port ${index}`)
    return found
  }

  proxy(index: number): ProxyNamespace {
    return new ProxyNamespace(this.net, this.at(index).port, { prefix: this.prefix, home: this.bench.dpuNetns, owner: 'test' })
  }

  /** A plugin as a shell script. */
  async script(name: string, body: string): Promise<void> {
    const path = join(this.folder, 'bin', name)
    await writeFile(path, `#!/bin/sh\n${body}\n`)
    await chmod(path, 0o755)
  }

  get leases(): string {
    return join(this.folder, 'leases')
  }

  /** Addresses that host-local holds. */
  async reserved(): Promise<string[]> {
    const files = await readdir(join(this.leases, 'labnet')).catch(() => [])
    return files.filter((name) => /^[0-9a-f.:]+$/.test(name) && /\d[.:]/.test(name)).toSorted()
  }

  hostLocal(routes: readonly { readonly dst: string }[] = [{ dst: '0.0.0.0/0' }, { dst: '::/0' }]): Record<string, unknown> {
    return {
      type: 'host-local',
      dataDir: this.leases,
      ranges: [[{ subnet: '10.77.0.0/24' }], [{ subnet: 'fd77::/64' }]],
      routes,
    }
  }

  bridge(more: Record<string, unknown> = {}): PluginConf {
    return { type: 'bridge', bridge: 'cni0', isGateway: true, hairpinMode: true, mtu: 1450, ipam: this.hostLocal(), ...more }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    for (const index of this.bench.ports.keys()) await this.proxy(index).dismantle()
    await this.bench[Symbol.asyncDispose]()
    await this.net[Symbol.asyncDispose]()
    await rm(this.folder, { recursive: true, force: true })
  }
}
