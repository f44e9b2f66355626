import { type SecurityAssociation, securityAssociations } from '@cni-offload/linux/ipsec'
import type { Machine } from '@cni-offload/linux/machine'
import { type CryptoCounters, type CryptoEngine, OffloadError } from '@cni-offload/sdk'
import { type CptBlock, readCptBlocks, sumOfCounters } from './blocks.ts'
import { type CptCapability, cptCapability } from './capability.ts'
import { kernelAlgorithms } from './enable.ts'
import { FaultCount } from './fault-count.ts'
import { describeFaults, faultyRegisters } from './fault-registers.ts'
import { cptFunctions, kernelVfs } from './functions.ts'
import { type InlineCapability, inlineCapability } from './inline.ts'
import { type CptCounters, meanLatency } from './performance-counters.ts'
import { cptSilicon } from './stepping.ts'

/** What a CPT engine reads. */
export interface CptEngineDeps {
  /** The DPU. */
  readonly machine: Machine
  /** The kernel's associations. @defaultValue those of this process's network namespace */
  readonly associations?: () => readonly SecurityAssociation[]
}

/** What is known of a CPT engine, and why. */
export interface CptDescription extends CptCapability {
  /** Such as `CN106xx A1`. */
  readonly silicon: string
  /** Physical functions, and which virtual ones of each the kernel has. */
  readonly functions: readonly { readonly pf: string; readonly kernelVfs: readonly string[]; readonly otherVfs: readonly string[] }[]
  /** What it could do inline. */
  readonly inline: InlineCapability
  /** What it has counted; undefined if that cannot be read. */
  readonly counters: CptCounters | undefined
  /** Mean cycles per request. */
  readonly meanLatency: bigint | undefined
  /** Registers that show faults; empty if none does or the kernel tells none. */
  readonly faults: string
  /** What could not be read. */
  readonly missing: readonly string[]
}

/**
 * The crypto engine of an OCTEON as the kernel's IPsec uses it. It counts requests, of whomever: the counters are those of the whole card,
 * and bytes are counted by nobody. Its `errors` are faults seen between readings, at least those that there were.
 */
export class CptEngine implements CryptoEngine {
  readonly #machine: Machine
  readonly #associations: () => readonly SecurityAssociation[]
  readonly #faults = new FaultCount()
  #capability: CptCapability

  private constructor({ machine, associations = securityAssociations }: CptEngineDeps, capability: CptCapability) {
    this.#machine = machine
    this.#associations = associations
    this.#capability = capability
  }

  /** The engine of a machine; undefined where there is no CPT. @throws OffloadError HARDWARE_FAILURE, UNDECODABLE, IO_FAILURE */
  static async open(deps: CptEngineDeps): Promise<CptEngine | undefined> {
    if ((await cptFunctions(deps.machine)).length === 0) return undefined
    return new CptEngine(deps, await capabilityOf(deps.machine, deps.associations ?? securityAssociations))
  }

  /** How it took part when it was looked at last. */
  get offload(): CryptoEngine['offload'] {
    return this.#capability.offload
  }

  /** @throws OffloadError NOT_READY (the kernel does not tell), PERMISSION_DENIED, UNDECODABLE, IO_FAILURE */
  async counters(): Promise<CryptoCounters> {
    const [blocks, capability] = await Promise.all([readCptBlocks(this.#machine), capabilityOf(this.#machine, this.#associations)])
    this.#capability = capability
    const faults = blocks.flatMap(({ folder, faults: some = [] }) => some.map((register) => ({ ...register, block: folder })))
    return { requests: sumOfCounters(blocks).requests, errors: this.#faults.add(faults) }
  }

  /** Why it takes part as it does, and what else is known. @throws OffloadError HARDWARE_FAILURE (CPT is gone), UNDECODABLE, IO_FAILURE */
  async describe(): Promise<CptDescription> {
    const missing: string[] = []
    const [functions, blocks, release] = await Promise.all([
      cptFunctions(this.#machine),
      readCptBlocks(this.#machine).catch((error: unknown): readonly CptBlock[] => {
        missing.push(OffloadError.from(error).message)
        return []
      }),
      this.#machine.read('/proc/sys/kernel/osrelease').catch(() => ''),
    ])
    this.#capability = await capabilityOf(this.#machine, this.#associations)
    const [first] = functions
    if (first === undefined) throw new OffloadError('HARDWARE_FAILURE', 'CPT is gone', { hint: 'Was the function removed (sysfs remove)?' })
    const silicon = cptSilicon(first.pf)
    const counters = blocks.length === 0 ? undefined : sumOfCounters(blocks)
    return {
      ...this.#capability,
      silicon: silicon.name,
      functions: functions.map((one) => {
        const own = kernelVfs(one).map(({ address }) => address)
        return { pf: one.pf.address, kernelVfs: own, otherVfs: one.vfs.map(({ address }) => address).filter((vf) => !own.includes(vf)) }
      }),
      inline: inlineCapability(silicon, release.trim()),
      counters,
      meanLatency: counters === undefined ? undefined : meanLatency(counters),
      faults: describeFaults(blocks.flatMap(({ faults = [] }) => faultyRegisters(faults))),
      missing,
    }
  }
}

async function capabilityOf(machine: Machine, read: () => readonly SecurityAssociation[]): Promise<CptCapability> {
  return cptCapability(await kernelAlgorithms(machine), readable(read))
}

/** Reading them needs CAP_NET_ADMIN; without, less can be said, but not nothing. */
function readable(read: () => readonly SecurityAssociation[]): readonly SecurityAssociation[] | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
