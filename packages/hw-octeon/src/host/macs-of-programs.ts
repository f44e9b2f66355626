import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { PciDevice } from '@cni-offload/linux/pci'
import { type Logger, UNKNOWN_MAC } from '@cni-offload/sdk'
import type { FunctionState } from './functions.ts'

/** With what is asked. */
export interface MacsDeps {
  /** Kernel access. */
  readonly net: LinuxNet
  /** Namespace of the host. */
  readonly netns: NetnsPath
  /** Log. */
  readonly log: Logger
}

/**
 * MAC addresses, by number, of functions that are with programs and that nobody has seen with an interface, as far as their physical function
 * knows them. Nothing is asked where there is none such. Never rejects.
 */
export async function macsOfPrograms(
  { net, netns, log }: MacsDeps,
  { netdevs: [dev] = [] }: PciDevice,
  states: readonly FunctionState[],
): Promise<ReadonlyMap<number, string>> {
  if (dev === undefined || !states.some(({ userspace, end }) => userspace !== undefined && end === undefined)) return new Map()
  const known = await net.vfs(netns, dev).catch((error: unknown) => {
    log.warn({ err: error, dev }, 'the MAC addresses of functions that programs have are not known')
    return []
  })
  return new Map(known.flatMap(({ vf, mac }) => (mac === UNKNOWN_MAC ? [] : [[vf, mac] as const])))
}
