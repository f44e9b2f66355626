import { Refusal } from '../system-error.ts'
import { line } from '../kernel/numbers.ts'
import { type PciDriver, ProbeDeferred } from './driver.ts'
import { PciFunction, virtualFunction } from './function.ts'
import type { IommuGroups } from './iommu-groups.ts'

interface Registration {
  readonly driver: PciDriver
  readonly dynamicIds: Set<string>
}

/** The kernel's PCI bus: functions, drivers, and who gets whom. */
export class PciBus {
  /** IOMMU groups. */
  readonly groups: IommuGroups
  /** Whether functions get a driver when they appear. */
  autoprobe = true
  readonly #functions = new Map<string, PciFunction>()
  readonly #drivers = new Map<string, Registration>()
  readonly #deferred = new Set<PciFunction>()
  #unplugged: readonly PciFunction[] = []
  #children: ReadonlyMap<string, readonly string[]> | undefined

  constructor(groups: IommuGroups) {
    this.groups = groups
  }

  /** All functions. */
  get functions(): readonly PciFunction[] {
    return [...this.#functions.values()]
  }

  /** All drivers. */
  get drivers(): readonly PciDriver[] {
    return [...this.#drivers.values()].map(({ driver }) => driver)
  }

  /** Functions whose driver has asked to be called again. */
  get deferred(): readonly PciFunction[] {
    return [...this.#deferred]
  }

  /** Names in the folders of `/sys/devices` that functions lie in, by their paths below it: functions, and buses that lead to them. */
  get folders(): ReadonlyMap<string, readonly string[]> {
    this.#children ??= foldersOf(this.functions)
    return this.#children
  }

  /** A function by its address. */
  function(address: string): PciFunction | undefined {
    return this.#functions.get(address)
  }

  /** A function appears. */
  async add(fn: PciFunction, { probe = this.autoprobe }: { readonly probe?: boolean } = {}): Promise<void> {
    this.#functions.set(fn.address, fn)
    this.#children = undefined
    this.groups.add(fn)
    if (probe) await this.#attach(fn).catch(ignoreProbeFailure)
  }

  /** A function disappears, and its virtual ones with it. */
  async remove(fn: PciFunction): Promise<void> {
    await this.release(fn)
    await this.disableVfs(fn)
    this.groups.remove(fn)
    this.#functions.delete(fn.address)
    this.#children = undefined
  }

  /** What a write to `remove` does: the function is forgotten until the bus is scanned again. */
  async unplug(fn: PciFunction): Promise<void> {
    await this.remove(fn)
    if (fn.pf === undefined) this.#unplugged = [...this.#unplugged, fn]
  }

  /** What a write to `rescan` does: functions that were forgotten are found again, as new ones. */
  async rescan(): Promise<void> {
    const found = this.#unplugged
    this.#unplugged = []
    for (const { spec } of found) await this.add(new PciFunction(spec))
  }

  /** The virtual functions that a physical one was told to have appear. */
  async enableVfs(pf: PciFunction, count: number): Promise<void> {
    pf.vfCount = count
    while (pf.vfs.length < count) await this.addVf(pf)
  }

  /** The next virtual function of a physical one appears. */
  async addVf(pf: PciFunction): Promise<void> {
    const { sriov } = pf.spec
    if (sriov === undefined) throw new Refusal('EINVAL')
    const vf = virtualFunction(pf, sriov, pf.vfs.length)
    pf.vfs.push(vf)
    await this.add(vf, { probe: pf.vfAutoprobe && this.autoprobe })
  }

  /** All virtual functions of a physical one disappear. */
  async disableVfs(pf: PciFunction): Promise<void> {
    pf.vfCount = 0
    const { vfs } = pf
    pf.vfs = []
    for (const vf of vfs.toReversed()) await this.remove(vf)
  }

  /** A driver comes: it gets all functions that it is for and nobody has. */
  async register(driver: PciDriver): Promise<void> {
    const registration = { driver, dynamicIds: new Set<string>() }
    this.#drivers.set(driver.name, registration)
    await this.#takeUnbound(registration)
  }

  /** A driver goes. */
  async unregister(driver: PciDriver): Promise<void> {
    for (const fn of this.functions) if (fn.driver === driver) await this.release(fn)
    this.#drivers.delete(driver.name)
  }

  /** A function loses its driver. */
  async release(fn: PciFunction): Promise<void> {
    this.#deferred.delete(fn)
    const { driver } = fn
    if (driver === undefined) return
    await driver.remove(fn)
    fn.driver = undefined
    fn.attributes = {}
  }

  /** What a write to `bind` does. @throws Refusal ENODEV, EBUSY, or why the driver does not want it */
  async bind(driver: PciDriver, text: string): Promise<void> {
    const fn = this.#functions.get(line(text))
    const registration = this.#drivers.get(driver.name)
    if (fn === undefined || registration === undefined || !matches(registration, fn)) throw new Refusal('ENODEV')
    if (fn.driver !== undefined) throw new Refusal('EBUSY')
    try {
      await this.#probe(driver, fn)
    } catch (error) {
      throw error instanceof ProbeDeferred ? new Refusal('EAGAIN') : error
    }
  }

  /** What a write to `unbind` does. @throws Refusal ENODEV */
  async unbind(driver: PciDriver, text: string): Promise<void> {
    const fn = this.#functions.get(line(text))
    if (fn === undefined || fn.driver !== driver) throw new Refusal('ENODEV')
    await this.release(fn)
  }

  /** What a write to `drivers_probe` does. That it succeeds does not say that a driver was found. @throws Refusal ENODEV, EINVAL */
  async probe(text: string): Promise<void> {
    const fn = this.#functions.get(line(text))
    if (fn === undefined) throw new Refusal('ENODEV')
    if (fn.driver !== undefined) return
    try {
      await this.#attach(fn)
    } catch (error) {
      if (error instanceof Refusal) throw new Refusal('EINVAL')
      throw error
    }
  }

  /** What a write to `new_id` does. @throws Refusal EINVAL, EEXIST */
  async addId(driver: PciDriver, text: string): Promise<void> {
    const registration = this.#drivers.get(driver.name)
    const id = idOf(text)
    if (registration === undefined) throw new Refusal('ENODEV')
    if (registration.dynamicIds.has(id) || driver.ids.includes(id)) throw new Refusal('EEXIST')
    registration.dynamicIds.add(id)
    await this.#takeUnbound(registration)
  }

  /** What a write to `remove_id` does. @throws Refusal EINVAL, ENODEV */
  removeId(driver: PciDriver, text: string): void {
    const id = idOf(text)
    if (this.#drivers.get(driver.name)?.dynamicIds.delete(id) !== true) throw new Refusal('ENODEV')
  }

  /** Asks the drivers again that have deferred a function. */
  async retryDeferred(): Promise<void> {
    for (const fn of this.deferred) {
      this.#deferred.delete(fn)
      await this.#attach(fn).catch(ignoreProbeFailure)
    }
  }

  async #takeUnbound(registration: Registration): Promise<void> {
    for (const fn of this.functions)
      if (fn.driver === undefined && matches(registration, fn)) await this.#probe(registration.driver, fn).catch(ignoreProbeFailure)
  }

  async #attach(fn: PciFunction): Promise<void> {
    const registration = [...this.#drivers.values()].find((candidate) => matches(candidate, fn))
    if (registration === undefined) return
    try {
      await this.#probe(registration.driver, fn)
    } catch (error) {
      if (!(error instanceof ProbeDeferred)) throw error
    }
  }

  async #probe(driver: PciDriver, fn: PciFunction): Promise<void> {
    this.#deferred.delete(fn)
    fn.driver = driver
    try {
      await driver.probe(fn)
    } catch (error) {
      fn.driver = undefined
      if (error instanceof ProbeDeferred) this.#deferred.add(fn)
      throw error
    }
    // That one driver has got what it wanted may be what others wait for.
    await this.retryDeferred()
  }
}

function foldersOf(functions: readonly PciFunction[]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, Set<string>>()
  for (const { spec } of functions) {
    let above = ''
    for (const name of [...spec.parent.split('/'), spec.address]) {
      found.set(above, (found.get(above) ?? new Set()).add(name))
      above = above === '' ? name : `${above}/${name}`
    }
  }
  return new Map([...found].map(([path, names]) => [path, [...names]]))
}

function matches({ driver, dynamicIds }: Registration, fn: PciFunction): boolean {
  if (fn.driverOverride !== undefined) return fn.driverOverride === driver.name
  return driver.ids.includes(fn.id) || dynamicIds.has(fn.id)
}

function idOf(text: string): string {
  const match = /^\s*(?:0x)?([0-9a-f]{1,4})\s+(?:0x)?([0-9a-f]{1,4})(?:\s.*)?$/is.exec(text)
  if (match?.[1] === undefined || match[2] === undefined) throw new Refusal('EINVAL')
  return [match[1], match[2]].map((word) => word.toLowerCase().padStart(4, '0')).join(':')
}

/** The kernel logs it and goes on: the function is there, without a driver. */
function ignoreProbeFailure(error: unknown): void {
  if (!(error instanceof Refusal || error instanceof ProbeDeferred)) throw error
}
