import { type CryptoAlgorithm, type SecurityAssociation, securityAssociations } from '@cni-offload/linux/ipsec'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import type { Clock } from '@cni-offload/sdk'
import { type CptBlock, readCptBlocks } from './blocks.ts'
import { kernelAlgorithms } from './enable.ts'
import { parseXfrmStat } from './xfrm-stat.ts'

/** What CPT and the kernel's IPsec have counted at a time. */
export interface CptSnapshot {
  /** When it was taken, milliseconds of a clock that does not jump. */
  readonly at: number
  /** CPT as it was read before the associations: what it counted up to here is surely from before. */
  readonly first: readonly CptBlock[]
  /** CPT as it was read after them: it surely includes what they counted. */
  readonly last: readonly CptBlock[]
  /** The kernel's associations. */
  readonly associations: readonly SecurityAssociation[]
  /** The kernel's algorithms. */
  readonly algorithms: readonly CryptoAlgorithm[]
  /** Errors of the kernel's IPsec by name; undefined where the kernel does not count them. */
  readonly errors: ReadonlyMap<string, bigint> | undefined
}

/** What a snapshot is taken of. */
export interface SnapshotSources {
  /** The DPU. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Pick<Clock, 'monotonic'>
  /** The kernel's associations. @defaultValue those of this process's network namespace */
  readonly associations?: () => readonly SecurityAssociation[]
}

/** Reads all that {@link proveCpt} compares. @throws OffloadError NOT_READY, PERMISSION_DENIED, UNDECODABLE, IO_FAILURE, KERNEL_REFUSED */
export async function takeCptSnapshot({
  machine,
  clock,
  associations: read = securityAssociations,
}: SnapshotSources): Promise<CptSnapshot> {
  const first = await readCptBlocks(machine)
  const associations = read()
  const last = await readCptBlocks(machine)
  const [algorithms, errors] = await Promise.all([kernelAlgorithms(machine), ifPresent(machine.read('/proc/net/xfrm_stat'))])
  return { at: clock.monotonic(), first, last, associations, algorithms, errors: errors === undefined ? undefined : parseXfrmStat(errors) }
}
