import type { Link, NetOp } from '@cni-offload/linux'
import type { Machine } from '@cni-offload/linux/machine'
import { systemClock } from '@cni-offload/sdk'
import { FakeOcteonCard, type FakeOcteonCardOptions, type FakeOcteonMachine } from '@cni-offload/testing/octeon'
import {
  applySetup,
  type OcteonInventory,
  planSetup,
  readInventory,
  Receipt,
  type SetupSite,
  type SetupWish,
  undoSetup,
  type UndoneStep,
} from '../../src/index.ts'

/** Addresses and states of interfaces, as much of the network as a set-up changes. */
export class PaperNet {
  readonly up = new Set<string>()
  readonly has = new Map<string, string[]>()

  link = async (_netns: string, name: string): Promise<Link> => ({ name, up: this.up.has(name) }) as Link
  addresses = async (_netns: string, name: string): Promise<string[]> => [...(this.has.get(name) ?? [])]
  apply = async (_netns: string, ops: readonly NetOp[]): Promise<void> => {
    for (const op of ops) this.#apply(op)
  }

  #apply(op: NetOp): void {
    if (op.op === 'link.set') this.up[op.up === true ? 'add' : 'delete'](op.dev)
    else if (op.op === 'addr.add') this.has.set(op.dev, [...(this.has.get(op.dev) ?? []), op.address])
    else if (op.op === 'addr.del')
      this.has.set(
        op.dev,
        (this.has.get(op.dev) ?? []).filter((address) => address !== op.address),
      )
  }
}

/** The process has died. It has no errno: nobody may take it for a refusal of the machine. */
const death = (): Error => new Error('the process has died')

/** Commands that only look. */
const LOOKS = ['dmesg', 'lsmod', 'uname']

/** Ends the process before one of its changes to the machine; a dead process changes nothing more. */
export class Fate {
  changes = 0
  readonly #at: number
  #dead = false

  constructor(at: number = Number.POSITIVE_INFINITY) {
    this.#at = at
  }

  async meet<T>(change: () => Promise<T>): Promise<T> {
    if (this.#dead) throw death()
    this.changes++
    if (this.changes < this.#at) return await change()
    this.#dead = true
    throw death()
  }

  machine(machine: Machine): Machine {
    return {
      read: (path) => machine.read(path),
      readlink: (path) => machine.readlink(path),
      list: (path) => machine.list(path),
      write: (path, text) => this.meet(() => machine.write(path, text)),
      place: (path, text, mode) => this.meet(() => machine.place(path, text, mode)),
      remove: (path) => this.meet(() => machine.remove(path)),
      run: (argv, signal) => (LOOKS.includes(argv[0]) ? machine.run(argv, signal) : this.meet(() => machine.run(argv, signal))),
    }
  }

  net(net: PaperNet): SetupSite['net'] {
    return { link: net.link, addresses: net.addresses, apply: (netns, ops) => this.meet(() => net.apply(netns, ops)) }
  }
}

/** Folders in which a set-up makes files and folders. */
const FOLDERS = ['/dev', '/etc', '/var', '/run']

/** One side of a fake card, and what is set up there. */
export class Bench implements AsyncDisposable {
  readonly card: FakeOcteonCard
  readonly machine: FakeOcteonMachine
  readonly net = new PaperNet()
  readonly wish: SetupWish
  /** Read once: a set-up changes nothing of it that its plan looks at. */
  readonly #inventory: OcteonInventory

  private constructor(card: FakeOcteonCard, machine: FakeOcteonMachine, wish: SetupWish, inventory: OcteonInventory) {
    this.#inventory = inventory
    this.card = card
    this.machine = machine
    this.wish = wish
  }

  static async create(side: 'host' | 'dpu', wish: SetupWish, options: FakeOcteonCardOptions = {}): Promise<Bench> {
    const card = await FakeOcteonCard.create({ state: 'fresh', ...options })
    return new Bench(card, card[side], wish, await readInventory(card[side]))
  }

  site(fate: Fate = new Fate()): SetupSite {
    const { machine, net } = this
    return {
      machine: fate.machine(machine),
      net: fate.net(net),
      netns: '/proc/self/ns/net',
      clock: systemClock,
      signal: AbortSignal.timeout(60_000),
    }
  }

  /** What is planned now, made. */
  async setUp(fate?: Fate): Promise<number> {
    const site = this.site(fate)
    const changes = await planSetup(this.#inventory, this.wish, site)
    await applySetup(changes, await Receipt.open(site.machine), site)
    return changes.length
  }

  async undo(fate?: Fate): Promise<UndoneStep[]> {
    const site = this.site(fate)
    return await undoSetup(await Receipt.open(site.machine), site)
  }

  /** Everything that can be seen of the machine. */
  async state(): Promise<Record<string, unknown>> {
    return await this.#below(['/'])
  }

  /** What a set-up can touch of it: looking at everything takes seconds. */
  async touched(): Promise<Record<string, unknown>> {
    const engine = this.wish.crypto === true ? [CPT] : []
    const functions = [...(this.wish.agent?.vfio ?? []), ...engine].map((address) => `/sys/bus/pci/devices/${address}`)
    return await this.#below([
      ...FOLDERS,
      '/proc/crypto',
      '/proc/modules',
      '/proc/mounts',
      '/proc/meminfo',
      '/proc/sys/vm',
      '/sys/module',
      ...functions,
    ])
  }

  async #below(paths: readonly string[]): Promise<Record<string, unknown>> {
    const { machine, net } = this
    const files = await Promise.all(
      paths.map(async (path) => {
        const list = await machine.list(path).catch(() => undefined)
        return list === undefined ? [[path, await machine.read(path)] as const] : [...(await machine.snapshot(path))]
      }),
    )
    const folders = await Promise.all(FOLDERS.map(async (path) => (await machine.list(path)).toSorted()))
    return {
      ...Object.fromEntries(files.flat()),
      folders,
      up: [...net.up].toSorted(),
      has: [...net.has].filter(([, all]) => all.length > 0),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.card[Symbol.asyncDispose]()
  }
}

/** The crypto engine of the fake's DPU. */
export const CPT = '0002:20:00.0'

const CONFIG = { path: '/etc/cni-offload/octeon/cn106xx.cfg', text: 'soc = { pems = ( ); };\n' }

/** What the control agents of the releases need, on the fake's DPU. */
export const AGENTS: Readonly<Record<'12.24.09' | '12.25.01' | '12.25.03', NonNullable<SetupWish['agent']>>> = {
  '12.24.09': { module: 'pcie_marvell_cnxk_ep', vfio: [], hugepages: true },
  '12.25.01': { module: 'vfio-pci', vfio: ['0000:06:00.0', '0001:00:10.0'], hugepages: true },
  '12.25.03': { module: 'vfio-pci', vfio: ['0002:18:00.0', '0002:19:00.0', '0001:00:10.0'], hugepages: false },
}

/** A DPU with one firmware. */
export async function dpuBench(
  firmware: keyof typeof AGENTS,
  options: FakeOcteonCardOptions = {},
  more: Partial<SetupWish> = {},
): Promise<Bench> {
  return await Bench.create('dpu', { agent: AGENTS[firmware], config: CONFIG, ...more }, { firmware, ...options })
}
