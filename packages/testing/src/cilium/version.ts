/** Releases of Cilium that the fake agent can behave as. */
export const CILIUM_VERSIONS = ['1.16.9', '1.17.5', '1.18.6', '1.19.4', '1.20.1'] as const

/** One of {@link CILIUM_VERSIONS}. */
export type CiliumVersion = (typeof CILIUM_VERSIONS)[number]

/** In what the releases differ, as far as a client of the API can tell. */
export interface VersionTraits {
  /** Answers 503 while it restores endpoints; older releases do not listen before they are done. */
  readonly answersWhileStarting: boolean
  /** Knows endpoints by `container-id:`, `container-name:`, `docker-endpoint:` and `pod-name:`. */
  readonly legacyIds: boolean
  /** Does not start while a restored endpoint has a device of another kind than veth. */
  readonly refusesOtherLinks: boolean
  /** `GET /config` tells the configured datapath mode besides the one in use. */
  readonly tellsConfiguredDatapath: boolean
  /** `GET /config` tells headroom and tailroom of the devices. */
  readonly tellsHeadroom: boolean
}

/** What is special about a release. */
export function traitsOf(version: CiliumVersion): VersionTraits {
  const minor = Number(version.split('.')[1])
  return {
    answersWhileStarting: minor >= 19,
    legacyIds: minor <= 19,
    refusesOtherLinks: minor >= 20,
    tellsConfiguredDatapath: minor >= 20,
    tellsHeadroom: minor >= 19,
  }
}
