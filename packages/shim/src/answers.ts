import type { Answer } from './protocol.ts'

/** The configuration's version is not supported, or too old for the verb. */
export const INCOMPATIBLE_VERSION: number = 1
/** A CNI_* variable is missing or malformed. */
export const INVALID_ENVIRONMENT: number = 4
/** Standard input could not be read. */
export const IO_FAILURE: number = 5
/** Standard input is not a JSON object. */
export const UNDECODABLE: number = 6
/** The network configuration is wrong. */
export const INVALID_NETCONF: number = 7
/** The daemon does not answer; the runtime may try again. */
export const TRY_AGAIN: number = 11
/** As TRY_AGAIN, for STATUS. */
export const NOT_AVAILABLE: number = 50

const NEWEST_VERSION = '1.1.0'
/** Versions of the specification that daemon and executable support, oldest first. */
export const SUPPORTED_VERSIONS: readonly string[] = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']

const printed = (text: string, status: number): Answer => ({ stdout: new TextEncoder().encode(`${text}\n`), status })

/** The JSON object in a text, null for anything else. */
export function decodeObject(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** The version that answers to this input carry: `cniVersion` as given, else the newest. */
export function answerVersion(stdin: string): string {
  const config = decodeObject(stdin)
  if (config === null || !('cniVersion' in config) || typeof config.cniVersion !== 'string') return NEWEST_VERSION
  const version: string = config.cniVersion
  return version !== '' && version.length <= 64 ? version : NEWEST_VERSION
}

/** A CNI error object and exit status 1. */
export function errorAnswer(stdin: string, code: number, msg: string, details: string): Answer {
  return printed(JSON.stringify({ cniVersion: answerVersion(stdin), code, msg, details }), 1)
}

/** The answer to VERSION. */
export function versionAnswer(stdin: string): Answer {
  return printed(JSON.stringify({ cniVersion: answerVersion(stdin), supportedVersions: SUPPORTED_VERSIONS }), 0)
}
