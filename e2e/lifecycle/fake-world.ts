import type { Link, LinuxNet, NetnsPath, NetOp } from '@cni-offload/linux'
import {
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CniAdapter,
  type DpuDevice,
  formatAttachmentKey,
  type HostDevice,
  OffloadError,
  type VirtualFunction,
} from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'

export const HOST_NETNS: NetnsPath = '/run/netns/host'

const HOME = '4:home'
const DEVICE = 'card'

interface FakeFunction {
  readonly index: number
  readonly mac: string
  netns: string
  name: string
  now: { mac: string; mtu: number; up: boolean; addresses: string[] }
}

const pristine = (mac: string): FakeFunction['now'] => ({ mac, mtu: 1500, up: false, addresses: [] })

const linkOf = ({ name, now }: FakeFunction): Link => ({ name, ...now }) as unknown as Link

/** The kernel of a host and the functions of its card: they outlive the daemon. */
export class FakeKernel {
  readonly functions: readonly FakeFunction[]
  /** Identities of namespaces by path. */
  readonly namespaces = new Map<NetnsPath, string>([[HOST_NETNS, HOME]])
  /** What must never happen, and did. */
  readonly wrong: string[]
  #made = 0

  constructor(vfs: number, wrong: string[]) {
    this.wrong = wrong
    this.functions = Array.from({ length: vfs }, (_, index) => {
      const mac = `02:00:00:00:00:0${index}`
      return { index, mac, netns: HOME, name: `vf${index}`, now: pristine(mac) }
    })
  }

  /** Makes a namespace unless there is one at the path. Returns its identity. */
  makeNetns(path: NetnsPath): string {
    const identity = this.namespaces.get(path) ?? `4:${++this.#made}`
    this.namespaces.set(path, identity)
    return identity
  }

  /** A function inside falls back to the host, as it is. */
  removeNetns(path: NetnsPath): void {
    const identity = this.namespaces.get(path)
    this.namespaces.delete(path)
    for (const vf of this.functions) if (vf.netns === identity) vf.netns = HOME
  }

  /** The function that is a pod's interface. */
  find(netns: string, name: string): FakeFunction | undefined {
    return this.functions.find((vf) => vf.netns === netns && vf.name === name)
  }

  isPristine({ index, mac, netns, name, now }: FakeFunction): boolean {
    return netns === HOME && name === `vf${index}` && JSON.stringify(now) === JSON.stringify(pristine(mac))
  }

  /** What the daemon knows of the kernel. */
  readonly net: Pick<LinuxNet, 'netnsIdentity' | 'links' | 'link' | 'addresses' | 'routes' | 'neighbours' | 'apply'> = {
    netnsIdentity: async (path) => this.namespaces.get(path),
    links: async (path) => this.functions.filter(({ netns }) => netns === this.#netns(path)).map(linkOf),
    link: async (path, name) => {
      const vf = this.find(this.#netns(path), name)
      return vf && linkOf(vf)
    },
    addresses: async (path, dev) => [...(this.find(this.#netns(path), dev)?.now.addresses ?? [])],
    routes: async () => [],
    neighbours: async () => [],
    apply: async (path, ops) => {
      for (const op of ops) this.#apply(this.#netns(path), op)
    },
  }

  /** The host half of the card. */
  readonly device: HostDevice = {
    name: 'fake-card',
    specVersion: 'v1',
    discover: async () =>
      this.functions.map(({ index, mac, netns, name }): VirtualFunction => {
        const found = { id: { device: DEVICE, index }, mac, health: 'healthy' as const, capabilities: { setMac: true, maxMtu: 9000 } }
        return netns === HOME ? { ...found, netdev: name } : found
      }),
    acquire: async ({ index }) => {
      const vf = this.#function(index)
      if (!this.isPristine(vf)) this.wrong.push(`VF ${index} is leased and not pristine: ${JSON.stringify(vf)}`)
      return { name: vf.name, mac: vf.mac, mtu: 1500, maxMtu: 9000 }
    },
    // Wherever it lies: whoever releases what a pod has takes the pod's network away.
    release: async ({ index }) => {
      const vf = this.#function(index)
      Object.assign(vf, { netns: HOME, name: `vf${index}`, now: pristine(vf.mac) })
    },
    watch: async function* (signal) {
      await aborted(signal)
    },
  }

  #function(index: number): FakeFunction {
    const vf = this.functions[index]
    if (vf === undefined) throw new OffloadError('HARDWARE_FAILURE', `there is no VF ${index}`)
    return vf
  }

  #netns(path: NetnsPath): string {
    const identity = this.namespaces.get(path)
    if (identity === undefined) throw new OffloadError('NOT_FOUND', `${path} is no network namespace`)
    return identity
  }

  #apply(netns: string, op: NetOp): void {
    if (op.op === 'sysctl' || op.op === 'announce') return
    const dev = 'dev' in op ? op.dev : ''
    const vf = this.find(netns, dev)
    if (vf === undefined) throw new OffloadError('NOT_FOUND', `${op.op}: there is no ${dev} in ${netns}`)
    if (op.op === 'link.move') {
      const to = this.#netns(op.netns)
      if (this.find(to, op.name) !== undefined) throw new OffloadError('ALREADY_EXISTS', `${op.name} exists in ${to}`)
      Object.assign(vf, { netns: to, name: op.name })
    } else if (op.op === 'link.set') {
      vf.now = { ...vf.now, mac: op.mac ?? vf.now.mac, mtu: op.mtu ?? vf.now.mtu, up: op.up ?? vf.now.up }
    } else if (op.op === 'addr.add') vf.now.addresses.push(op.address)
    else if (op.op !== 'link.expect') throw new Error(`the fake kernel does not know ${op.op}`)
    else if (op.mac !== vf.now.mac || op.up !== vf.now.up) throw new OffloadError('CHECK_FAILED', `${dev} is not as it should be`)
  }
}

interface Connected {
  readonly key: AttachmentKey
  readonly port: string
  readonly result: AttachResult
}

/** The network of a DPU: it outlives the agent. The lowest address that nobody has is given next. */
export class FakeNetwork {
  readonly connected = new Map<string, Connected>()
  /** What must never happen, and did. */
  readonly wrong: string[]
  readonly #vfs: number

  constructor(vfs: number, wrong: string[]) {
    this.#vfs = vfs
    this.wrong = wrong
  }

  /** One run of an adapter. */
  readonly adapter: CniAdapter = {
    name: 'fake',
    specVersion: 'v1',
    capabilities: { families: ['ipv4'], runtimeConfig: [], fixedMac: false },
    attach: async (req) => this.#attach(req),
    detach: async ({ key }) => void this.connected.delete(formatAttachmentKey(key)),
    check: async ({ key, port }) => {
      if (this.connected.get(formatAttachmentKey(key))?.port !== port.name) throw new OffloadError('CHECK_FAILED', 'not connected')
    },
    status: async () => {},
    list: async () => [...this.connected.values()].map(({ key }) => key),
  }

  /** The DPU half of the card. */
  readonly device: DpuDevice = {
    name: 'fake-card',
    specVersion: 'v1',
    start: async () => {},
    ports: async () => Array.from({ length: this.#vfs }, (_, index) => ({ vf: { device: DEVICE, index }, name: `port${index}` })),
    port: async (vf) => ({ vf, name: `port${vf.index}` }),
    watch: async function* (signal) {
      await aborted(signal)
    },
  }

  #attach({ key, port: { name: port }, hostIpam }: AttachRequest): AttachResult {
    const id = formatAttachmentKey(key)
    for (const [other, { port: taken }] of this.connected)
      if (taken === port && other !== id) this.wrong.push(`${port} is connected for ${id} while ${other} has it`)
    const known = this.connected.get(id)
    if (known !== undefined && known.port !== port) this.wrong.push(`${id} is connected to ${port} while it has ${known.port}`)
    const [has, given] = [known?.result.ips, hostIpam?.ips].map((ips) => ips?.map(({ address }) => address).join())
    if (has !== undefined && given !== undefined && has !== given) this.wrong.push(`${id} has ${has} and is to have ${given}`)
    const taken = new Set([...this.connected.values()].map(({ result }) => result.mac))
    let host = 1
    while (taken.has(macOf(host))) host++
    const result = known?.result ?? {
      mac: macOf(host),
      mtu: 1500,
      ips: [{ address: `10.0.0.${host}/24` }],
      routes: [],
      neighbours: [],
      dns: {},
      sysctls: {},
      ...hostIpam,
    }
    this.connected.set(id, { key, port, result })
    return result
  }
}

const macOf = (host: number): string => `02:00:00:00:01:0${host}`
