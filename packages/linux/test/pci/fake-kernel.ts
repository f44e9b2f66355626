import type { CommandOutcome, Machine } from '../../src/machine/index.ts'

/** A function as the tests describe it; tests change it at will. */
export interface FakeFunction {
  vendor: string
  device: string
  /** Drivers that are for it. */
  readonly drivers: readonly string[]
  driver?: string | undefined
  override?: string | undefined
  group?: number | undefined
  net?: string[] | undefined
  numa?: number
  physfn?: string
  virtfns?: Map<number, string>
  sriov?: { total: number; enabled: number; autoprobe?: boolean }
}

export const systemError = (code: string): Error => Object.assign(new Error(`${code}: refused`), { code })

/** As much of the kernel's PCI as `@cni-offload/linux/pci` uses, with its rules. */
export class FakeKernel implements Machine {
  readonly functions = new Map<string, FakeFunction>()
  readonly drivers = new Set<string>(['vfio-pci', 'net-pf', 'net-vf', 'other'])
  readonly nodes = new Set<string>()
  readonly parameters = new Map<string, string>()
  /** Files that processes have open. */
  readonly open = new Map<number, string[]>()
  /** Every write, in order: `file = text`. */
  readonly writes: string[] = []
  /** What a write to a file does instead of its rule. */
  readonly instead = new Map<string, (text: string) => void>()

  add(address: string, fn: FakeFunction): this {
    this.functions.set(address, fn)
    return this
  }

  get(address: string): FakeFunction {
    const fn = this.functions.get(address)
    if (fn === undefined) throw systemError('ENOENT')
    return fn
  }

  async read(path: string): Promise<string> {
    const parameter = this.parameters.get(path)
    if (parameter !== undefined) return parameter
    const [address, file] = this.#inDevice(path)
    const fn = this.get(address)
    const files: Record<string, string | undefined> = {
      vendor: `0x${fn.vendor}`,
      device: `0x${fn.device}`,
      subsystem_vendor: '0x177D',
      subsystem_device: '0xb900',
      class: '0x028000',
      revision: '0x51',
      numa_node: String(fn.numa ?? -1),
      driver_override: fn.override ?? '(null)',
      sriov_totalvfs: fn.sriov?.total.toString(),
      sriov_numvfs: fn.sriov?.enabled.toString(),
      sriov_drivers_autoprobe: fn.sriov?.autoprobe === false ? '0' : '1',
    }
    const text = files[file]
    if (text === undefined) throw systemError('ENOENT')
    return `${text}\n`
  }

  async readlink(path: string): Promise<string> {
    const [, pid, fd] = /^\/proc\/(\d+)\/fd\/(\d+)$/.exec(path) ?? []
    if (pid !== undefined) return this.open.get(Number(pid))?.[Number(fd)] ?? '/dev/null'
    const [address, file] = this.#inDevice(path)
    const fn = this.get(address)
    const target =
      { driver: fn.driver, physfn: fn.physfn, iommu_group: fn.group?.toString() }[file] ??
      fn.virtfns?.get(Number(/^virtfn(\d+)$/.exec(file)?.[1]))
    if (target === undefined) throw systemError('ENOENT')
    return `../../somewhere/${target}`
  }

  async list(path: string): Promise<string[]> {
    if (path === '/proc') return ['self', ...this.open.keys()].map(String)
    const pid = /^\/proc\/(\d+)\/fd$/.exec(path)?.[1]
    if (pid !== undefined) return (this.open.get(Number(pid)) ?? []).map((_, fd) => String(fd))
    if (path === '/sys/bus/pci/devices') return [...this.functions.keys()].toReversed()
    if (path === '/dev/vfio') return [...this.nodes]
    const group = /^\/sys\/kernel\/iommu_groups\/(\d+)\/devices$/.exec(path)?.[1]
    if (group !== undefined) return [...this.functions].flatMap(([address, fn]) => (fn.group === Number(group) ? [address] : []))
    const driver = /^\/sys\/bus\/pci\/drivers\/([^/]+)$/.exec(path)?.[1]
    if (driver !== undefined) {
      if (!this.drivers.has(driver)) throw systemError('ENOENT')
      return ['bind', 'unbind']
    }
    const [address, file] = this.#inDevice(path)
    const fn = this.get(address)
    if (file === '') return ['vendor', ...[...(fn.virtfns?.keys() ?? [])].map((n) => `virtfn${n}`).toSorted()]
    if (file === 'net' && fn.net !== undefined) return fn.net
    throw systemError('ENOENT')
  }

  async write(path: string, text: string): Promise<void> {
    this.writes.push(`${path} = ${JSON.stringify(text)}`)
    const instead = this.instead.get(path)
    if (instead !== undefined) return instead(text)
    if (path === '/sys/bus/pci/drivers_probe') return this.#probe(text)
    const driver = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/bind$/.exec(path)?.[1]
    if (driver !== undefined) return this.#bind(text, driver)
    const [address, file] = this.#inDevice(path)
    const fn = this.get(address)
    if (file === 'driver_override') fn.override = text.trim() === '' ? undefined : text.trim()
    else if (file === 'driver/unbind') this.#unbind(text)
    else throw systemError('EACCES')
  }

  place(): Promise<void> {
    throw systemError('EROFS')
  }

  remove(): Promise<void> {
    throw systemError('EROFS')
  }

  run(): Promise<CommandOutcome> {
    throw systemError('ENOENT')
  }

  #inDevice(path: string): [address: string, file: string] {
    const [, address = '', file = ''] = /^\/sys\/bus\/pci\/devices\/([^/]+)\/?(.*)$/.exec(path) ?? []
    return [address, file]
  }

  #matches(fn: FakeFunction, driver: string): boolean {
    return fn.override === undefined ? fn.drivers.includes(driver) : fn.override === driver
  }

  #bind(address: string, driver: string): void {
    const fn = this.functions.get(address)
    if (fn === undefined || !this.drivers.has(driver) || !this.#matches(fn, driver)) throw systemError('ENODEV')
    if (fn.driver !== undefined) throw systemError('EBUSY')
    fn.driver = driver
    if (driver.startsWith('net-')) fn.net = [`en${address.replaceAll(/\W/g, '')}`]
  }

  #unbind(address: string): void {
    const fn = this.functions.get(address)
    if (fn?.driver === undefined) throw systemError('ENODEV')
    fn.driver = undefined
    fn.net = undefined
  }

  #probe(address: string): void {
    const fn = this.functions.get(address)
    if (fn === undefined) throw systemError('ENODEV')
    const driver = [...this.drivers].find((candidate) => this.#matches(fn, candidate))
    // Nothing for it, or bound already: the kernel says yes.
    if (driver !== undefined && fn.driver === undefined) this.#bind(address, driver)
  }
}
