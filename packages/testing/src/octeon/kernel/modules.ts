import type { PciBus } from '../pci/bus.ts'
import type { PciDriver } from '../pci/driver.ts'
import { type Entries, type Entry, folder, link, readable } from '../tree/entry.ts'

/** A module that can be loaded. */
export interface KernelModule {
  /** Name, with underscores. */
  readonly name: string
  /** Modules that it needs. */
  readonly needs?: readonly string[]
  /** PCI drivers that it brings. */
  readonly drivers?: readonly PciDriver[]
  /** Files under `parameters`. */
  readonly parameters?: () => Entries
  /** Who uses it, so that it cannot be removed. */
  readonly users?: () => number
  /** Lines that it logs when it comes. */
  readonly greeting?: readonly string[]
}

/** Why a module could not be loaded or removed. */
export class ModuleFailure extends Error {
  override readonly name = 'ModuleFailure'
  /** Whether there is no such module, it is not loaded, or somebody uses it. */
  readonly reason: 'unknown' | 'not-loaded' | 'in-use'

  constructor(reason: 'unknown' | 'not-loaded' | 'in-use', module: string) {
    super(`${module}: ${reason}`)
    this.reason = reason
  }
}

/** The modules of a kernel: those on its disk, and those that are loaded. */
export class ModuleTable {
  readonly #available: ReadonlyMap<string, KernelModule>
  readonly #bus: PciBus
  readonly #log: (text: string) => void
  readonly #loaded = new Map<string, KernelModule>()

  constructor(available: readonly KernelModule[], bus: PciBus, log: (text: string) => void) {
    this.#available = new Map(available.map((module) => [module.name, module]))
    this.#bus = bus
    this.#log = log
  }

  /** Whether it is loaded. */
  has(name: string): boolean {
    return this.#loaded.has(underscored(name))
  }

  /** Loads a module and what it needs; one that is loaded is success. @throws ModuleFailure */
  async load(name: string): Promise<void> {
    const module = this.#available.get(underscored(name))
    if (module === undefined) throw new ModuleFailure('unknown', name)
    if (this.#loaded.has(module.name)) return
    for (const needed of module.needs ?? []) await this.load(needed)
    this.#loaded.set(module.name, module)
    for (const text of module.greeting ?? []) this.#log(text)
    for (const driver of module.drivers ?? []) await this.#bus.register(driver)
  }

  /** Removes a module. @throws ModuleFailure */
  async unload(name: string): Promise<void> {
    const module = this.#loaded.get(underscored(name))
    if (module === undefined) throw new ModuleFailure(this.#available.has(underscored(name)) ? 'not-loaded' : 'unknown', name)
    if (this.#usersOf(module) > 0) throw new ModuleFailure('in-use', name)
    for (const driver of module.drivers ?? []) await this.#bus.unregister(driver)
    this.#loaded.delete(module.name)
  }

  /** Removes all, as the end of the kernel does. */
  async unloadAll(): Promise<void> {
    for (const module of [...this.#loaded.values()].toReversed()) {
      for (const driver of module.drivers ?? []) await this.#bus.unregister(driver)
      this.#loaded.delete(module.name)
    }
  }

  /** `/proc/modules`: the newest first. */
  text(): string {
    const lines = [...this.#loaded.values()].toReversed().map((module) => {
      const dependants = this.#dependants(module).map((name) => `${name},`)
      return `${module.name} 65536 ${this.#usersOf(module)} ${dependants.length > 0 ? dependants.join('') : '-'} Live 0x0000000000000000\n`
    })
    return lines.join('')
  }

  /** `/sys/module`. */
  entries(): Entries {
    return Object.fromEntries([...this.#loaded.values()].map((module): [string, Entry] => [module.name, this.#folder(module)]))
  }

  #folder(module: KernelModule): Entry {
    const { drivers = [], parameters } = module
    return folder(() => ({
      refcnt: readable(() => `${this.#usersOf(module)}\n`),
      initstate: readable('live\n'),
      coresize: readable('65536\n'),
      ...(parameters === undefined ? {} : { parameters: folder(parameters) }),
      ...(drivers.length === 0
        ? {}
        : {
            drivers: folder(() => Object.fromEntries(drivers.map(({ name }) => [`pci:${name}`, link(`../../../bus/pci/drivers/${name}`)]))),
          }),
    }))
  }

  #dependants({ name }: KernelModule): string[] {
    return [...this.#loaded.values()].filter(({ needs }) => needs?.includes(name) === true).map((module) => module.name)
  }

  #usersOf(module: KernelModule): number {
    return this.#dependants(module).length + (module.users?.() ?? 0)
  }
}

const underscored = (name: string): string => name.replaceAll('-', '_')
