import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import { CPT_DRIVERS, type Selection } from './drivers.ts'

/**
 * Associations that CPT could serve, but that began without it: an association keeps the driver that it began with. The kernel tells how
 * many use CPT, not which; so they are told apart only if all do or none does.
 *
 * @returns them, and whether it is sure of each; none if all use CPT
 */
export function lateAssociations(
  associations: readonly SecurityAssociation[],
  selections: readonly Selection[],
): { readonly some: readonly SecurityAssociation[]; readonly sure: boolean } {
  const byAlgorithm = selections
    .filter(({ algorithm }) => Object.hasOwn(CPT_DRIVERS, algorithm))
    .map(({ algorithm, users }) => {
      const own = associations.filter((one) => one.algorithm === algorithm && one.offload === 'none')
      return { own: users >= own.length ? [] : own, sure: users === 0 }
    })
    .filter(({ own }) => own.length > 0)
  return { some: byAlgorithm.flatMap(({ own }) => own), sure: byAlgorithm.every(({ sure }) => sure) }
}

/** Such as `10.0.0.1 → 10.0.0.2 SPI 0x3`. */
export function describeAssociation({ source, destination, spi }: SecurityAssociation): string {
  return `${source} → ${destination} SPI 0x${spi.toString(16)}`
}
