import type { CniVerb, CniVersion } from '../cni/model.ts'
import { isAtLeast } from '../cni/version.ts'
import { unready, withPluginCode } from './plugin-error.ts'
import type { PluginExecutor } from './plugin-executor.ts'
import { parseResult, type RawResult } from './plugin-result.ts'
import { SpokenVersions } from './spoken-versions.ts'

/** What a plugin hands on to another one when it delegates: its IPAM plugin, for one. */
export interface DelegateConf {
  /** File name of the plugin that is delegated to. */
  readonly type: string
  /** Version of the configuration. */
  readonly cniVersion: CniVersion
  /** The whole configuration that the delegating plugin was called with, decoded JSON. */
  readonly netconf: Readonly<Record<string, unknown>>
}

/** A delegated call for one attachment. */
export interface DelegateCall extends DelegateConf {
  /** CNI_CONTAINERID. */
  readonly containerId: string
  /** CNI_NETNS; empty where the namespace is gone (DEL only). */
  readonly netns: string
  /** CNI_IFNAME. */
  readonly ifName: string
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>
}

/**
 * Delegates to a plugin as the specification wants it of the plugin that does it: with the same variables and the same configuration.
 * Errors have the code that the plugin gave, as far as it is one of the specification's.
 *
 * @see https://www.cni.dev/docs/spec/#section-4-plugin-delegation
 */
export class DelegateRunner {
  readonly #executor: PluginExecutor
  readonly #spoken: SpokenVersions

  /** Plugins are executed by `executor`. */
  constructor(executor: PluginExecutor) {
    this.#executor = executor
    this.#spoken = new SpokenVersions(executor)
  }

  /** Makes sure, before anything is done, that the plugin is installed. @throws OffloadError NOT_READY */
  async requirePlugin(type: string): Promise<void> {
    await this.#executor.find(type)
  }

  /**
   * ADD. Nothing is undone on failure: call {@link del} then.
   *
   * @returns the result as the plugin printed it
   * @throws OffloadError as of PluginExecutor.run; ADAPTER_FAILED when the plugin prints no valid result
   */
  async add(call: DelegateCall, signal: AbortSignal): Promise<RawResult> {
    return parseResult(await this.#run('ADD', call, call.netconf, signal), call.type, call.cniVersion)
  }

  /** DEL. @param prevResult - what the delegating plugin was given, if anything */
  async del(call: DelegateCall, prevResult: unknown, signal: AbortSignal): Promise<void> {
    await this.#run('DEL', call, withPrevResult(call, prevResult), signal)
  }

  /** CHECK; nothing where the version has none. @param prevResult - what the delegating plugin was given */
  async check(call: DelegateCall, prevResult: unknown, signal: AbortSignal): Promise<void> {
    if (isAtLeast(call.cniVersion, '0.4.0')) await this.#run('CHECK', call, withPrevResult(call, prevResult), signal)
  }

  /**
   * Whether the plugin could serve an ADD: it is there, speaks the version and, from 1.1.0 on, says itself that it is ready.
   *
   * @throws OffloadError NOT_READY or LIMITED_CONNECTIVITY; otherwise as of PluginExecutor.run
   */
  async status(conf: DelegateConf, signal: AbortSignal): Promise<void> {
    await this.#spoken.require(conf.type, conf.cniVersion, signal)
    if (!isAtLeast(conf.cniVersion, '1.1.0')) return
    try {
      await this.#executor.run(noAttachment('STATUS', conf, conf.netconf), signal)
    } catch (error) {
      throw unready(error)
    }
  }

  /**
   * GC; nothing where the version has none.
   *
   * @param conf - its configuration has the list of attachments that are valid
   * @throws OffloadError as of PluginExecutor.run
   */
  async gc(conf: DelegateConf, signal: AbortSignal): Promise<void> {
    if (isAtLeast(conf.cniVersion, '1.1.0')) await this.#executor.run(noAttachment('GC', conf, conf.netconf), signal)
  }

  async #run(verb: CniVerb, call: DelegateCall, netconf: DelegateConf['netconf'], signal: AbortSignal): Promise<string> {
    const { type, containerId, netns, ifName } = call
    const args = Object.entries(call.args)
      .map(([key, value]) => `${key}=${value}`)
      .join(';')
    try {
      return await this.#executor.run({ verb, type, containerId, netns, ifName, args, stdin: JSON.stringify(netconf) }, signal)
    } catch (error) {
      throw withPluginCode(error)
    }
  }
}

const noAttachment = (verb: CniVerb, { type }: DelegateConf, netconf: DelegateConf['netconf']): Parameters<PluginExecutor['run']>[0] => ({
  verb,
  type,
  containerId: '',
  netns: '',
  ifName: '',
  args: '',
  stdin: JSON.stringify(netconf),
})

/** What others had made before an ADD is no result of it. */
function withPrevResult({ netconf }: DelegateConf, prevResult: unknown): DelegateConf['netconf'] {
  const { prevResult: _before, ...rest } = netconf
  return prevResult === undefined ? rest : { ...rest, prevResult }
}
