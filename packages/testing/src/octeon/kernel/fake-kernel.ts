import { randomUUID } from 'node:crypto'
import { posix } from 'node:path'
import type { Clock } from '@cni-offload/sdk'
import { PciBus } from '../pci/bus.ts'
import { busEntries, deviceEntries, groupEntries } from '../pci/bus-entries.ts'
import type { PciFunction } from '../pci/function.ts'
import { IommuGroups } from '../pci/iommu-groups.ts'
import { netFolder } from '../pci/net-entries.ts'
import { type Awaitable, type Entries, folder, link, readable } from '../tree/entry.ts'
import { OrdinaryFolder } from '../tree/ordinary.ts'
import { type CardSide, isOfFunction, type Netdevs } from '../wire/netdevs.ts'
import { type HugepageKb, Hugepages } from './hugepages.ts'
import { KernelLog } from './log.ts'
import { type KernelModule, ModuleTable } from './modules.ts'
import { MountTable } from './mounts.ts'
import { ProcessTable } from './processes.ts'
import { Vfio } from './vfio.ts'

/** What a fake kernel is made of. */
export interface FakeKernelOptions {
  /** Whose kernel it is. */
  readonly side: CardSide
  /** `uname -n`. */
  readonly hostname: string
  /** `uname -r`. */
  readonly release: string
  /** Time. */
  readonly clock: Clock
  /** Interfaces. */
  readonly netdevs: Netdevs
  /** Whether there is an IOMMU. */
  readonly iommu: boolean
  /** Addresses of functions that the IOMMU cannot keep apart. */
  readonly sharedGroups: readonly (readonly string[])[]
  /** Memory in KiB. */
  readonly memoryKb: number
  /** Size of a default huge page. */
  readonly hugepageKb: HugepageKb
  /** Modules on its disk, beside those of vfio. */
  readonly modules: (kernel: FakeKernel) => readonly KernelModule[]
  /** What else there is in `/proc`, `/sys/kernel/debug` and `/sys/devices/system`. */
  readonly more?: { readonly proc?: () => Awaitable<Entries>; readonly debug?: () => Entries; readonly system?: () => Entries }
}

/** The kernel of a fake machine, as far as its files show it. */
export class FakeKernel {
  /** Whose it is. */
  readonly side: CardSide
  /** `uname -r`. */
  readonly release: string
  /** `uname -n`. */
  readonly hostname: string
  readonly log: KernelLog
  readonly bus: PciBus
  readonly vfio: Vfio
  readonly modules: ModuleTable
  readonly mounts: MountTable = new MountTable()
  readonly hugepages: Hugepages
  readonly processes: ProcessTable = new ProcessTable()
  readonly #netdevs: Netdevs
  readonly #more: NonNullable<FakeKernelOptions['more']>
  readonly #devFolder: OrdinaryFolder = new OrdinaryFolder(async () => await folder(() => this.#dev()).entries())
  #bootId: string = randomUUID()

  constructor(options: FakeKernelOptions) {
    this.side = options.side
    this.release = options.release
    this.hostname = options.hostname
    this.log = new KernelLog(options.clock)
    const groups = new IommuGroups(options.iommu, options.sharedGroups)
    this.bus = new PciBus(groups)
    this.vfio = new Vfio(groups)
    this.hugepages = new Hugepages(options.hugepageKb, options.memoryKb)
    this.#netdevs = options.netdevs
    this.#more = options.more ?? {}
    this.modules = new ModuleTable([...this.vfio.modules(), ...options.modules(this)], this.bus, (text) => this.log.add(text))
  }

  /** Forgets what does not outlive a boot; functions and modules are up to whoever boots it. */
  restart(): void {
    this.#bootId = randomUUID()
    this.log.restart()
    this.mounts.restart()
    this.hugepages.restart()
    this.#devFolder.own.clear()
  }

  /** The folders of the root that the kernel makes. */
  root(): Entries {
    return {
      sys: folder(() => this.#sys()),
      proc: folder(() => this.#proc()),
      dev: this.#devFolder,
    }
  }

  #sys(): Entries {
    const view = { bus: this.bus, log: this.log, netdevs: (fn: PciFunction) => this.#netdevsOf(fn) }
    return {
      bus: folder(() => ({ pci: folder(() => busEntries(this.bus)) })),
      class: folder(() => ({ net: folder(() => this.#classNet()) })),
      devices: folder(async () => ({
        ...deviceEntries(view),
        system: folder(() => ({ ...this.#more.system?.() })),
        virtual: folder(() => ({ net: folder(() => this.#virtualNet()) })),
      })),
      kernel: folder(() => ({
        iommu_groups: folder(() => groupEntries(this.bus)),
        mm: folder(() => ({ hugepages: folder(() => this.hugepages.entries()) })),
        debug: folder(() => (this.mounts.has('/sys/kernel/debug', 'debugfs') ? this.#debug() : {})),
      })),
      module: folder(() => this.modules.entries()),
    }
  }

  #debug(): Entries {
    const deferred = this.bus.deferred.map(({ address }) => `${address}\t\n`).join('')
    return { devices_deferred: readable(deferred), ...this.#more.debug?.() }
  }

  async #proc(): Promise<Entries> {
    return {
      cmdline: readable('root=/dev/sda2 ro\n'),
      meminfo: readable(() => this.hugepages.meminfo()),
      modules: readable(() => this.modules.text()),
      mounts: link('self/mounts'),
      swaps: readable('Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'),
      version: readable(`Linux version ${this.release}\n`),
      self: folder(() => ({ mounts: readable(() => this.mounts.text()) })),
      sys: folder(() => ({
        kernel: folder(() => ({
          hostname: readable(`${this.hostname}\n`),
          osrelease: readable(`${this.release}\n`),
          random: folder(() => ({ boot_id: readable(`${this.#bootId}\n`) })),
        })),
        vm: folder(() => ({ nr_hugepages: this.hugepages.sysctl() })),
      })),
      ...this.processes.entries(),
      ...(await this.#more.proc?.()),
    }
  }

  #dev(): Entries {
    return {
      null: readable(''),
      ...(this.modules.has('vfio') ? { vfio: folder(() => this.vfio.nodes(this.bus)) } : {}),
      ...(this.modules.has('pcie_marvell_cnxk_ep') ? { pem0_ep_bar4_mem: readable('') } : {}),
    }
  }

  async #netdevsOf(fn: PciFunction): Promise<Awaited<ReturnType<Netdevs['links']>>> {
    return (await this.#netdevs.links(this.side)).filter((net) => isOfFunction(net, fn.address))
  }

  async #classNet(): Promise<Entries> {
    const links = await this.#netdevs.links(this.side)
    return Object.fromEntries(
      links.map((net) => {
        const owner = this.bus.functions.find(({ address, hasNetdev }) => hasNetdev && isOfFunction(net, address))
        const path = owner === undefined ? '/sys/devices/virtual' : owner.path
        return [net.name, link(posix.relative('/sys/class/net', `${path}/net/${net.name}`))]
      }),
    )
  }

  async #virtualNet(): Promise<Entries> {
    const links = await this.#netdevs.links(this.side)
    const own = links.filter((net) => !this.bus.functions.some(({ address, hasNetdev }) => hasNetdev && isOfFunction(net, address)))
    return Object.fromEntries(own.map((net) => [net.name, netFolder(net)]))
  }
}
