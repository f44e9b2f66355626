import type { CryptoAlgorithm, SecurityAssociation } from '@cni-offload/linux/ipsec'
import type { CryptoEngine } from '@cni-offload/sdk'
import { CPT_DRIVERS, cptAlgorithms, selectionOf } from './drivers.ts'
import { describeAssociation, lateAssociations } from './late-associations.ts'

/** How CPT takes part in the kernel's IPsec, and why that is said. */
export interface CptCapability {
  /** How. */
  readonly offload: CryptoEngine['offload']
  /** Algorithms of ESP that new associations get CPT for. */
  readonly algorithms: readonly string[]
  /** Why, in sentences; what keeps it from taking part in more is among them. */
  readonly because: readonly string[]
}

/**
 * How CPT takes part. By look-aside if associations use it, or if the first one would; inline only if all of them are an interface's:
 * that a card could do it says nothing of what is done.
 *
 * @param associations - the kernel's; undefined if they could not be read
 */
export function cptCapability(
  algorithms: readonly CryptoAlgorithm[],
  associations: readonly SecurityAssociation[] | undefined,
): CptCapability {
  const served = cptAlgorithms(algorithms)
  const selections = Object.keys(CPT_DRIVERS).map((name) => selectionOf(algorithms, name))
  const users = selections.reduce((sum, one) => sum + one.users, 0)
  const because = served.length === 0 ? [whyNone(algorithms)] : [`new associations with ${served.join(', ')} get CPT`]
  const capability = (offload: CptCapability['offload'], ...more: readonly string[]): CptCapability => ({
    offload,
    algorithms: served,
    because: [...because, ...more],
  })
  if (associations !== undefined && associations.length > 0 && associations.every(({ offload }) => offload === 'packet'))
    return capability('inline', `an interface has all ${associations.length} associations`)
  const late = lateAssociations(associations ?? [], selections)
  const more = describeLate(late)
  if (users > 0) return capability('lookaside', `${users} uses of CPT`, ...more)
  if (associations === undefined) return capability(served.length > 0 ? 'lookaside' : 'none', 'the associations could not be read')
  if (associations.length === 0) return capability(served.length > 0 ? 'lookaside' : 'none', 'there are no associations')
  return capability('none', 'no association uses CPT', ...more)
}

function whyNone(algorithms: readonly CryptoAlgorithm[]): string {
  for (const name of Object.keys(CPT_DRIVERS)) {
    const { cpt, preferred } = selectionOf(algorithms, name)
    if (cpt === undefined) continue
    if (!cpt.tested) return `${cpt.driver} has not passed its selftest`
    return `${preferred?.driver ?? 'another'} has a higher priority than ${cpt.driver}`
  }
  return 'no algorithm of ESP is registered by CPT: it has no virtual function that the kernel has'
}

function describeLate({ some, sure }: ReturnType<typeof lateAssociations>): readonly string[] {
  const [first] = some
  if (first === undefined) return []
  const which = some.length === 1 ? describeAssociation(first) : `${describeAssociation(first)} and ${some.length - 1} more`
  const since = 'an association keeps the driver that it began with'
  return [sure ? `${which} began without CPT: ${since}` : `some began without CPT, ${which} may be among them: ${since}`]
}
