import { z } from 'zod'
import type { CniVerb } from '../cni/model.ts'
import { isAtLeast } from '../cni/version.ts'
import { unready } from './plugin-error.ts'
import type { PluginExecutor } from './plugin-executor.ts'
import { ipamTypes, type PluginConf, type PluginList } from './plugin-list.ts'
import { parseResult, type RawResult } from './plugin-result.ts'
import { SpokenVersions } from './spoken-versions.ts'

/** The attachment that a list is run for. */
export interface ListCall {
  /** The list. */
  readonly list: PluginList
  /** CNI_CONTAINERID. */
  readonly containerId: string
  /** CNI_NETNS; empty where the namespace is gone (DEL only). */
  readonly netns: string
  /** CNI_IFNAME. */
  readonly ifName: string
  /** CNI_ARGS. */
  readonly args: Readonly<Record<string, string>>
  /** Capability arguments; each plugin gets those that it declares. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>
  /** `args.cni` of the configuration that the runtime called us with; every plugin gets it, laid over its own. */
  readonly cni?: Readonly<Record<string, unknown>>
  /** What the attachment had before it was lost, to be given again as far as the plugins can be asked for it. */
  readonly again?: PodAddresses
}

/** What a running pod cannot exchange. */
export interface PodAddresses {
  /** Addresses with prefix length. */
  readonly ips: readonly string[]
  /** MAC address. */
  readonly mac: string
}

const rawResult = z.record(z.string(), z.unknown())

/** Runs plugin lists as the specification wants it of a runtime: order, chaining of results, capabilities, verbs by version. */
export class ListRunner {
  readonly #executor: PluginExecutor
  readonly #noCheck: ReadonlySet<string>
  readonly #spoken: SpokenVersions

  /** Plugins are executed by `executor`; those of the types `noCheck` are never called with CHECK. */
  constructor(executor: PluginExecutor, noCheck: readonly string[] = []) {
    this.#executor = executor
    this.#spoken = new SpokenVersions(executor)
    this.#noCheck = new Set(noCheck)
  }

  /** Makes sure, before anything is done, that the list's plugins are installed. @throws OffloadError NOT_READY */
  async requirePlugins(list: PluginList): Promise<void> {
    await Promise.all(allTypes(list).map((type) => this.#executor.find(type)))
  }

  /**
   * ADD of all plugins, in order. Nothing is undone on failure: call {@link del} then.
   *
   * @param prevResult - what the first plugin is told that others have made before; nothing by default
   * @returns the last plugin's result as it printed it
   * @throws OffloadError as of PluginExecutor.run; ADAPTER_FAILED when a plugin prints no valid result
   */
  async add(call: ListCall, signal: AbortSignal, prevResult?: RawResult): Promise<RawResult> {
    let result = prevResult
    for (const plugin of call.list.plugins) {
      const output = await this.#run('ADD', call, plugin, result, signal)
      result = parseResult(output, plugin.type, call.list.cniVersion)
    }
    return result ?? {}
  }

  /** DEL of all plugins, in reverse; stops at the first that fails, as what it left may refer to what others hold. */
  async del(call: ListCall, prevResult: RawResult | undefined, signal: AbortSignal): Promise<void> {
    const known = isAtLeast(call.list.cniVersion, '0.4.0') ? prevResult : undefined
    for (const plugin of call.list.plugins.toReversed()) await this.#run('DEL', call, plugin, known, signal)
  }

  /** CHECK of all plugins, in order; nothing where the list forbids it or its version has none. */
  async check(call: ListCall, prevResult: RawResult, signal: AbortSignal): Promise<void> {
    if (call.list.disableCheck || !isAtLeast(call.list.cniVersion, '0.4.0')) return
    for (const plugin of call.list.plugins) if (!this.#noCheck.has(plugin.type)) await this.#run('CHECK', call, plugin, prevResult, signal)
  }

  /**
   * Whether the list could serve an ADD: all plugins and their IPAM plugins are there and speak the list's version, and,
   * from 1.1.0 on, say themselves that they are ready.
   *
   * @throws OffloadError NOT_READY or LIMITED_CONNECTIVITY
   */
  async status(list: PluginList, signal: AbortSignal): Promise<void> {
    for (const type of allTypes(list)) await this.#spoken.require(type, list.cniVersion, signal)
    if (!isAtLeast(list.cniVersion, '1.1.0')) return
    const call: ListCall = { list, containerId: '', netns: '', ifName: '', args: {}, runtimeConfig: {} }
    for (const plugin of list.plugins)
      try {
        await this.#run('STATUS', call, plugin, undefined, signal)
      } catch (error) {
        throw unready(error)
      }
  }

  /**
   * GC of all plugins, so that they forget what no attachment has; nothing where the list's version has none. One that fails does not
   * keep the others from it.
   *
   * @param valid - what the network still has
   * @throws OffloadError as of PluginExecutor.run, the first failure, after all were run
   * @see https://www.cni.dev/docs/spec/#gc-clean-up-any-stale-resources
   */
  async gc(list: PluginList, valid: readonly Pick<ListCall, 'containerId' | 'ifName'>[], signal: AbortSignal): Promise<void> {
    if (!isAtLeast(list.cniVersion, '1.1.0')) return
    const attachments = valid.map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName }))
    // The first draft of 1.1.0 called the field otherwise, and plugins of that time know only that.
    const fields = { 'cni.dev/valid-attachments': attachments, 'cni.dev/attachments': attachments }
    const call: ListCall = { list, containerId: '', netns: '', ifName: '', args: {}, runtimeConfig: {} }
    const failures: unknown[] = []
    for (const plugin of list.plugins)
      await this.#run('GC', call, { ...plugin, ...fields }, undefined, signal).catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }

  async #run(verb: CniVerb, call: ListCall, plugin: PluginConf, prevResult: RawResult | undefined, signal: AbortSignal): Promise<string> {
    const { containerId, netns, ifName } = call
    const stdin = JSON.stringify(pluginStdin(call, plugin, prevResult))
    return await this.#executor.run({ verb, type: plugin.type, containerId, netns, ifName, args: formatArgs(call.args), stdin }, signal)
  }
}

const allTypes = (list: PluginList): string[] => [...new Set([...list.plugins.map(({ type }) => type), ...ipamTypes(list)])]

/** A raw result whose interface inside the namespace has another MAC. */
export function withMac(raw: RawResult, ifName: string, mac: string): RawResult {
  const inside = z.looseObject({ name: z.literal(ifName), sandbox: z.string().min(1) }).transform((item) => ({ ...item, mac }))
  const interfaces = z.array(inside.or(z.unknown())).safeParse(raw['interfaces'])
  return interfaces.success ? { ...raw, interfaces: interfaces.data } : raw
}

function pluginStdin(call: ListCall, plugin: PluginConf, prevResult: RawResult | undefined): Record<string, unknown> {
  const declared = Object.entries(plugin.capabilities ?? {}).flatMap(([name, wanted]) => (wanted ? [name] : []))
  const offered: Readonly<Record<string, unknown>> = { ...call.runtimeConfig, ...call.again }
  const runtimeConfig = Object.fromEntries(declared.flatMap((name) => (offered[name] === undefined ? [] : [[name, offered[name]]])))
  return {
    ...plugin,
    name: call.list.name,
    cniVersion: call.list.cniVersion,
    ...argsOf(plugin['args'], { ...call.cni, ...(call.again === undefined ? {} : { ips: call.again.ips }) }),
    ...(Object.keys(runtimeConfig).length === 0 ? {} : { runtimeConfig }),
    ...(prevResult === undefined ? {} : { prevResult }),
  }
}

/** `args.cni` is the conventional way to ask for things that needs no capability (`ips`); who does not know it ignores it. */
function argsOf(own: unknown, cni: Readonly<Record<string, unknown>>): { readonly args?: unknown } {
  if (Object.keys(cni).length === 0) return {}
  const parsed = z
    .object({ cni: rawResult.default({}) })
    .loose()
    .safeParse(own ?? {})
  return parsed.success ? { args: { ...parsed.data, cni: { ...parsed.data.cni, ...cni } } } : {}
}

/** Separators have no escape in CNI_ARGS: what holds one cannot be said, and plugins refuse the whole text if it is. */
function formatArgs(args: Readonly<Record<string, string>>): string {
  const pairs = Object.entries({ ...args, IgnoreUnknown: '1' }).filter(([key, value]) => !/[;=]/.test(key) && !/[;=]/.test(value))
  return pairs.map(([key, value]) => `${key}=${value}`).join(';')
}
