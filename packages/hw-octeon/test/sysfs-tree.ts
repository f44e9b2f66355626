import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { formatPciAddress } from '@cni-offload/linux/pci'

/** A function of a tree of files that looks as sysfs does. */
export interface TreeFunction {
  readonly address: string
  readonly device: string
  readonly vendor?: string
  /** Upper half of the subsystem's id. */
  readonly chip?: string
  readonly revision?: number
  readonly driver?: string
  readonly physfn?: string
  readonly virtfns?: readonly string[]
  readonly net?: readonly string[]
  readonly total?: number
}

/** A machine with these functions and nothing else. */
export class SysfsTree implements AsyncDisposable {
  readonly machine: Machine
  readonly #root: string

  private constructor(root: string) {
    this.#root = root
    this.machine = localMachine(root)
  }

  static async create(functions: readonly TreeFunction[]): Promise<SysfsTree> {
    const tree = new SysfsTree(await mkdtemp(join(tmpdir(), 'octeon-')))
    await mkdir(join(tree.#root, 'sys/bus/pci/devices'), { recursive: true })
    for (const fn of functions) await tree.#add(fn)
    return tree
  }

  async #add({
    address,
    device,
    vendor = '177d',
    chip = 'b9',
    revision = 0x51,
    driver,
    physfn,
    virtfns = [],
    net,
    total,
  }: TreeFunction): Promise<void> {
    const folder = join(this.#root, 'sys/bus/pci/devices', address)
    await mkdir(folder)
    const files = {
      vendor: `0x${vendor}`,
      device: `0x${device}`,
      subsystem_vendor: '0x177d',
      subsystem_device: `0x${chip}00`,
      class: '0x020000',
    }
    const sriov = total === undefined ? {} : { sriov_totalvfs: `${total}`, sriov_numvfs: `${virtfns.length}`, sriov_drivers_autoprobe: '1' }
    const all = { ...files, ...sriov, revision: `0x${revision.toString(16).padStart(2, '0')}`, numa_node: '0', driver_override: '(null)' }
    for (const [name, text] of Object.entries(all)) await writeFile(join(folder, name), `${text}\n`)
    const links: Record<string, string | undefined> = { driver, physfn, ...Object.fromEntries(virtfns.map((vf, n) => [`virtfn${n}`, vf])) }
    for (const [name, to] of Object.entries(links)) if (to !== undefined) await symlink(`../${to}`, join(folder, name))
    for (const name of net ?? []) await mkdir(join(folder, 'net', name), { recursive: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true })
  }
}

/** Addresses of `count` virtual functions that follow a physical one, by routing ids: function 8 is device 1, function 0. */
export const following = (domain: number, bus: number, count: number): string[] =>
  Array.from({ length: count }, (_, n) => formatPciAddress({ domain, bus, device: (n + 1) >> 3, function: (n + 1) & 7 }))

/** The functions of a DPU with SDP functions of one layout. */
export function dpuFunctions({
  layout = 'af',
  ports = 9,
  domain = 2,
  bus = 1,
}: { layout?: 'af' | 'sdp'; ports?: number; domain?: number; bus?: number } = {}): TreeFunction[] {
  const parent = formatPciAddress({ domain, bus, device: 0, function: 0 })
  const virtfns = following(domain, bus, ports)
  return [
    {
      address: parent,
      device: layout === 'af' ? 'a065' : 'a0f6',
      driver: layout === 'af' ? 'rvu_af' : 'octeontx2-sdp',
      virtfns,
      total: 128,
    },
    ...virtfns.map((address, n) => ({ address, device: 'a0f7', driver: 'rvu_nicvf', physfn: parent, net: [`enP2p1s0v${n}`] })),
    { address: '0001:00:10.0', device: 'a06c', driver: 'vfio-pci' },
    { address: '0000:06:00.0', device: 'a080', driver: 'octeontx2-dpi' },
    { address: '0002:20:00.0', device: 'a0f2', driver: 'rvu_cptpf' },
  ]
}

/** The functions of a host with VFs. */
export function hostFunctionsOfTree(vfs: number, pf: string = '0000:01:00.0'): TreeFunction[] {
  const virtfns = Array.from({ length: vfs }, (_, n) => pf.replace(/00\.0$/, `0${2 + (n >> 3)}.${n & 7}`))
  return [
    { address: pf, device: 'b900', driver: 'octeon_ep', net: ['enp1s0'], virtfns, total: 64 },
    ...virtfns.map((address, n) => ({ address, device: 'b903', driver: 'octeon_ep_vf', physfn: pf, net: [`enp1s0v${n}`] })),
  ]
}
