import type { Answer } from './protocol.ts'

/** CNI error codes that the executable itself gives. The daemon has all others. */
export const INVALID_ENVIRONMENT: number = 4
/** Standard input could not be read. */
export const IO_FAILURE: number = 5
/** Standard input is not a JSON object. */
export const UNDECODABLE: number = 6
/** The daemon does not answer; the runtime may try again. */
export const TRY_AGAIN: number = 11
/** As TRY_AGAIN, for STATUS. */
export const NOT_AVAILABLE: number = 50

const NEWEST_VERSION = '1.1.0'
const SUPPORTED_VERSIONS: readonly string[] = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']

const printed = (text: string, status: number): Answer => ({ stdout: new TextEncoder().encode(`${text}\n`), status })

/** What the daemon would see in a text: an object, or nothing that it could work with. */
const decoded = (text: string): object | null => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

/** Whether a text is a JSON object. */
export function isJsonObject(text: string): boolean {
  return decoded(text) !== null
}

/** The version that answers to this input carry: `cniVersion` as given, else the newest. */
export function answerVersion(stdin: string): string {
  const config = decoded(stdin)
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
