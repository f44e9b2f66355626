import type { CniVerb } from '../cni/model.ts'
import type { ErrorCode } from '../errors/codes.ts'
import { OffloadError } from '../errors/offload-error.ts'

/** What a CNI plugin said when it failed; the cause of the OffloadError that callers get. */
export class PluginError extends Error {
  override readonly name = 'PluginError'
  /** File name of the plugin. */
  readonly type: string
  /** What it was asked to do. */
  readonly verb: CniVerb
  /** CNI error code that it printed; undefined when it printed no error object. */
  readonly pluginCode: number | undefined

  /** Keeps what the plugin said apart from how we say it. */
  constructor(type: string, verb: CniVerb, pluginCode: number | undefined, message: string) {
    super(message)
    this.type = type
    this.verb = verb
    this.pluginCode = pluginCode
  }
}

/** What plugin codes of the specification are here. 3 is left out: it would tell the runtime that there is nothing to clean up. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  1: 'INCOMPATIBLE_VERSION',
  2: 'UNSUPPORTED_FIELD',
  4: 'INVALID_ENVIRONMENT',
  5: 'IO_FAILURE',
  6: 'UNDECODABLE',
  7: 'INVALID_NETCONF',
  11: 'RESOURCE_EXHAUSTED',
  50: 'NOT_READY',
  51: 'LIMITED_CONNECTIVITY',
}

/** An executor's error with the code that the plugin gave, where that is one of the specification's; others stay as they are. */
export function withPluginCode(error: unknown): unknown {
  if (!OffloadError.is(error) || !(error.cause instanceof PluginError)) return error
  const code = CODES[error.cause.pluginCode ?? 0]
  return code === undefined ? error : new OffloadError(code, error.message, { cause: error.cause })
}

/** An executor's error on STATUS: what a plugin says means that an ADD cannot be served. */
export function unready(error: unknown): unknown {
  if (!OffloadError.is(error) || !(error.cause instanceof PluginError)) return error
  return new OffloadError(error.cause.pluginCode === 51 ? 'LIMITED_CONNECTIVITY' : 'NOT_READY', error.message, { cause: error.cause })
}
