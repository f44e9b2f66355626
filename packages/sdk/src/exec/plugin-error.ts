import type { CniVerb } from '../cni/model.ts'

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
