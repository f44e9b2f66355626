import { OffloadError } from '@cni-offload/sdk'
import type { Machine } from '@cni-offload/linux/machine'
import { type PciDevice, setVfCount, type VfCountOptions } from '@cni-offload/linux/pci'

/** How many VFs a card has for a host. */
export interface VfMaximum {
  /** Number of VFs. */
  readonly count: number
  /** What it is known from: what the driver read from the card, or what it accepted when asked. */
  readonly source: 'driver-log' | 'accepted'
}

const NVFS_SHIFT = 48n
/** The field has seven bits. */
const NVFS_MASK = 0x7fn
const MOST_VFS = Number(NVFS_MASK)

/**
 * The number of VFs that the card has rings for, as the driver logs it when it has read the card; undefined if the log does not go back
 * that far. Each line is of one function; the last one counts: firmware can change it from one start to the next.
 *
 * @param log - of the kernel
 * @param pf - address of the physical function
 */
export function vfMaximumInLog(log: string, pf: string): number | undefined {
  const lines = log.matchAll(/octeon_ep (\S+): SDP_EPF_RINFO\[0x[0-9a-f]+\]:\s*0x([0-9a-f]{1,16})\b/gi)
  const [, , value] = [...lines].findLast(([, address]) => address === pf) ?? []
  return value === undefined ? undefined : Number((BigInt(`0x${value}`) >> NVFS_SHIFT) & NVFS_MASK)
}

/** The same of this machine's log, undefined where it cannot be read. */
export async function loggedVfMaximum(machine: Machine, pf: string, signal: AbortSignal): Promise<number | undefined> {
  const { exitCode, stdout } = await machine.run(['dmesg'], signal).catch((error: unknown) => {
    if (signal.aborted) throw error
    return { exitCode: null, stdout: '' }
  })
  return exitCode === 0 ? vfMaximumInLog(stdout, pf) : undefined
}

/**
 * How many VFs the card has. What is in the PCI header (`sriov_totalvfs`) only bounds it: it may be more than the firmware has rings for.
 * Where the log does not say, the driver is asked by making VFs, which is refused while any of those that exist is in use; they are
 * gone afterwards.
 *
 * @throws OffloadError as {@link setVfCount}
 */
export async function vfMaximum(machine: Machine, pf: PciDevice, options: VfCountOptions): Promise<VfMaximum> {
  const logged = await loggedVfMaximum(machine, pf.address, options.signal)
  if (logged !== undefined) return { count: Math.min(logged, pf.sriov?.total ?? logged), source: 'driver-log' }
  const bound = Math.min(pf.sriov?.total ?? 0, MOST_VFS)
  await setVfCount(machine, pf.address, 0, options)
  // Only whether the driver says yes matters, not what comes of it.
  const asked: VfCountOptions = { ...options, isSettled: () => true }
  let [accepted, refusedFrom] = [0, bound + 1]
  for (let next = bound; accepted + 1 < refusedFrom; next = Math.floor((accepted + refusedFrom) / 2)) {
    if (await accepts(machine, pf.address, next, asked)) accepted = next
    else refusedFrom = next
  }
  await setVfCount(machine, pf.address, 0, options)
  return { count: accepted, source: 'accepted' }
}

async function accepts(machine: Machine, pf: string, count: number, options: VfCountOptions): Promise<boolean> {
  try {
    await setVfCount(machine, pf, count, options)
    return true
  } catch (error) {
    if (OffloadError.is(error) && error.code === 'INVALID_CONFIG') return false
    throw error
  }
}
