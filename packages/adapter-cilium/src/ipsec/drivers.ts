import { type CryptoAlgorithm, preferredAlgorithm } from '@cni-offload/linux/ipsec'

/** Where a driver of the kernel's crypto layer works. */
export type DriverKind = 'hardware' | 'software' | 'unknown'

/** Names of Linux drivers for hardware: Marvell OCTEON TX, Intel QAT, NXP CAAM, Inside Secure, Chelsio, AMD. */
const HARDWARE = /^cpt_|^qat_|-caam|^safexcel-|-chcr$|-ccp$/

/** Names of what runs on the CPU, with or without special instructions. */
const SOFTWARE = /-generic$|aesni|-vaes-avx|-ce$|-neon|-lib$|-fixed-time$|^ghash-clmulni$/

/**
 * Where a driver works, by its name; the kernel itself does not tell. One that is made of others, `seqiv(a)` or `authenc(a,b)`, works where
 * all of them do. Unknown names and mixtures are unknown.
 */
export function driverKind({ driver }: Pick<CryptoAlgorithm, 'driver'>): DriverKind {
  // What stands before a bracket is what puts the others together.
  const leaves = driver
    .replaceAll(/[^(),]*\(/g, ',')
    .split(/[),]+/)
    .filter((leaf) => leaf !== '')
  if (leaves.length > 0 && leaves.every((leaf) => HARDWARE.test(leaf))) return 'hardware'
  return leaves.length > 0 && leaves.every((leaf) => SOFTWARE.test(leaf)) ? 'software' : 'unknown'
}

/** What the kernel's crypto layer tells of some algorithms of ESP. */
export interface DriverUse {
  /** How many associations each kind of driver serves. */
  readonly users: Readonly<Record<DriverKind, number>>
  /** Drivers that there are, those that ESP does not use yet too. */
  readonly kinds: ReadonlySet<DriverKind>
  /** What a new association would get, where a driver is registered. */
  readonly preferred: readonly CryptoAlgorithm[]
  /** What existing ones have. */
  readonly instances: readonly CryptoAlgorithm[]
}

/** IV generators that ESP puts around an algorithm: `seqiv(…)` for counter modes, `echainiv(…)` for CBC. Each association is one user. */
const GENERATORS = ['seqiv', 'echainiv']

/** Looks up who does the work of some algorithms, by names without IV generator. */
export function driverUse(algorithms: readonly CryptoAlgorithm[], names: readonly string[]): DriverUse {
  const wrapped = names.flatMap((name) => GENERATORS.map((generator) => `${generator}(${name})`))
  const instances = algorithms.filter(({ name }) => wrapped.includes(name))
  const users = { hardware: 0, software: 0, unknown: 0 }
  for (const instance of instances) users[driverKind(instance)] += instance.users
  const drivers = algorithms.filter(({ name, internal }) => names.includes(name) && !internal)
  return {
    users,
    kinds: new Set([...drivers, ...instances].map(driverKind)),
    preferred: names.flatMap((name) => preferredAlgorithm(algorithms, name) ?? []),
    instances,
  }
}
