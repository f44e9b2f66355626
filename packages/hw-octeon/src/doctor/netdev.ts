import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import type { PciDevice } from '@cni-offload/linux/pci'

/** A network interface of a function, as its files say. */
export interface NetdevState {
  /** Name. */
  readonly name: string
  /** MAC address. */
  readonly mac: string
  /** Whether it is switched on. */
  readonly up: boolean
  /** Whether it has a carrier; undefined while it is down, when the kernel does not say. */
  readonly carrier: boolean | undefined
}

const IFF_UP = 1

/** The interfaces of a function that lie in the namespace of whoever looks. One that goes away meanwhile is left out. */
export async function netdevsOf(machine: Machine, { address, netdevs = [] }: PciDevice): Promise<readonly NetdevState[]> {
  const states = await Promise.all(
    netdevs.map(async (name) => {
      const read = async (file: string): Promise<string | undefined> =>
        (await ifPresent(machine.read(`/sys/bus/pci/devices/${address}/net/${name}/${file}`), ['ENOENT', 'ENODEV', 'EINVAL']))?.trim()
      const [mac, flags, carrier] = await Promise.all([read('address'), read('flags'), read('carrier')])
      if (mac === undefined || flags === undefined) return undefined
      return { name, mac, up: (Number(flags) & IFF_UP) !== 0, carrier: carrier === undefined ? undefined : carrier === '1' }
    }),
  )
  return states.filter((state) => state !== undefined)
}
