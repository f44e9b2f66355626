/** Releases of Cilium that the fake agent can behave as. */
export const CILIUM_VERSIONS = ['1.16.9', '1.17.6', '1.18.6', '1.19.4', '1.20.2'] as const

/** One of {@link CILIUM_VERSIONS}. */
export type CiliumVersion = (typeof CILIUM_VERSIONS)[number]

/** In what the releases differ, as far as a client of the API can tell. */
export interface VersionTraits {
  /** While it restores endpoints, only calls that change endpoints wait; those of older releases wait all. */
  readonly answersWhileStarting: boolean
  /** Says at once that there is nothing to delete; older releases say it when it is the call's turn. */
  readonly missesUnlimited: boolean
  /** Knows endpoints by `container-id:`, `container-name:`, `docker-endpoint:` and `pod-name:`. */
  readonly legacyIds: boolean
  /** Does not start while a restored endpoint has a device of another kind than veth. */
  readonly refusesOtherLinks: boolean
  /** `GET /config` tells the configured datapath mode besides the one in use. */
  readonly tellsConfiguredDatapath: boolean
  /** Knows of BBR for the node alone. */
  readonly limitsBbr: boolean
  /** Has pods look for the MTU of a path. */
  readonly probesMtu: boolean
}

/** Minor number of a release: 19 of `1.19.4`. */
export function minorOf(version: CiliumVersion): number {
  return Number(version.split('.')[1])
}

/** What is special about a release. */
export function traitsOf(version: CiliumVersion): VersionTraits {
  const minor = minorOf(version)
  return {
    answersWhileStarting: minor >= 18,
    missesUnlimited: minor >= 18,
    legacyIds: minor <= 19,
    refusesOtherLinks: minor >= 20,
    tellsConfiguredDatapath: minor >= 20,
    limitsBbr: minor >= 18,
    probesMtu: minor >= 19,
  }
}
