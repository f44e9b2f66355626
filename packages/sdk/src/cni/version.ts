import { CNI_VERSIONS, type CniVersion } from './model.ts'

/** The newest version that is supported: what is spoken where the caller named none that can be understood. */
export const NEWEST_CNI_VERSION: CniVersion = '1.1.0'

/** Versions are compared as whole texts: "1.0" and "v1.0.0" are versions of nothing. */
export function isCniVersion(text: unknown): text is CniVersion {
  return (CNI_VERSIONS as readonly unknown[]).includes(text)
}

/** Whether a version is `least` or newer. */
export function isAtLeast(version: CniVersion, least: CniVersion): boolean {
  return CNI_VERSIONS.indexOf(version) >= CNI_VERSIONS.indexOf(least)
}

/**
 * The version that an answer to this input should carry, also when the input is broken: `cniVersion` as given if there
 * is one, else the newest.
 */
export function answerVersion(stdin: string): string {
  try {
    const decoded = JSON.parse(stdin) as { readonly cniVersion?: unknown } | null
    const version = decoded?.cniVersion
    return typeof version === 'string' && version !== '' && version.length <= 64 ? version : NEWEST_CNI_VERSION
  } catch {
    return NEWEST_CNI_VERSION
  }
}

/** What VERSION prints, as JSON. Never fails: a runtime asks before it knows which versions it shares with us. */
export function versionReply(stdin: string): string {
  return JSON.stringify({ cniVersion: answerVersion(stdin), supportedVersions: CNI_VERSIONS })
}
