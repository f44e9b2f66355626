import { type AttachRequest, type AttachResult, OffloadError } from '@cni-offload/sdk'
import { CNI_VERSIONS, type CniVersion } from '@cni-offload/sdk/cni'
import { decodeRaw, type DelegateCall, DelegateRunner, type PluginExecutor } from '@cni-offload/sdk/exec'
import { z } from 'zod'
import { type Assignment, withGateways } from './pools.ts'

/** The pod's namespace is on the host: IPAM plugins hand out addresses and need none, but want the variable set. */
const NO_NETNS = '/run/netns/on-the-host'
/** Plugins that work in the pod's namespace, which is not here. */
const NEED_POD: ReadonlySet<string> = new Set(['dhcp'])

/** Has stock IPAM plugins on the DPU give addresses to pods. */
export class PluginIpam {
  readonly #runner: DelegateRunner

  /** Plugins are executed by `executor`. */
  constructor(executor: PluginExecutor) {
    this.#runner = new DelegateRunner(executor)
  }

  /** Makes sure, before anything is done, that the plugin can be asked. @throws OffloadError UNSUPPORTED_FIELD, INVALID_NETCONF */
  async require(plugin: string): Promise<void> {
    if (NEED_POD.has(plugin))
      throw new OffloadError('UNSUPPORTED_FIELD', `netconf: ipam.type = "${plugin}" works in the pod's namespace, which is on the host`, {
        hint: 'Set "hostIPAM": true, and it runs there.',
      })
    try {
      await this.#runner.requirePlugin(plugin)
    } catch (error) {
      // The adapter is ready: it is this network that names something that is not there.
      if (!OffloadError.is(error) || error.code !== 'NOT_READY') throw error
      throw new OffloadError('INVALID_NETCONF', `netconf: ipam.type = "${plugin}": ${error.message}`, {
        cause: error,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
      })
    }
  }

  /**
   * ADD. A running pod gets what it had: whatever the plugin still knows of it is given back before.
   *
   * @throws OffloadError as of PluginExecutor.run; ADAPTER_FAILED when the plugin gives no address
   */
  async add(req: AttachRequest, plugin: string, signal: AbortSignal): Promise<Assignment> {
    if (req.had !== undefined) await this.del(req, plugin, signal)
    const call = callOf(req, plugin)
    const { ips: all, routes, dns } = decodeRaw(await this.#runner.add(call, signal), call)
    const ips = all.map(({ address, gateway }) => ({ address, ...(gateway === undefined ? {} : { gateway }) }))
    if (ips.length === 0)
      throw new OffloadError('ADAPTER_FAILED', `plugin "${plugin}", ADD: it succeeded but gave no address`, {
        hint: 'Leave ipam out if the pod is to have none.',
      })
    return { ips, routes: withGateways(routes, ips), dns }
  }

  /** DEL. What the plugin does not know is success, as the specification has it. */
  async del(req: AttachRequest, plugin: string, signal: AbortSignal): Promise<void> {
    await this.#runner.del(callOf(req, plugin), undefined, signal)
  }

  /** CHECK. @throws OffloadError CHECK_FAILED */
  async check(req: AttachRequest, plugin: string, expected: AttachResult, signal: AbortSignal): Promise<void> {
    try {
      await this.#runner.check(callOf(req, plugin), { cniVersion: versionOf(req), ips: expected.ips }, signal)
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'ADAPTER_FAILED') throw error
      throw new OffloadError('CHECK_FAILED', error.message, { cause: error })
    }
  }
}

/** IPAM plugins get the configuration of who calls them, with what the pod is to have: what it had, else what was asked for. */
function callOf(req: AttachRequest, plugin: string): DelegateCall {
  const { key, cniArgs, runtimeConfig, netconf, had } = req
  const ips = had?.ips.map(({ address }) => address)
  const wanted = ips === undefined ? runtimeConfig : { ...runtimeConfig, ips }
  const args = z
    .looseObject({ cni: z.looseObject({}).optional() })
    .optional()
    .catch(undefined)
    .parse(netconf['args'])
  return {
    type: plugin,
    cniVersion: versionOf(req),
    netconf: {
      ...netconf,
      name: key.network,
      ...(Object.keys(wanted).length === 0 ? {} : { runtimeConfig: wanted }),
      ...(ips === undefined ? {} : { args: { ...args, cni: { ...args?.cni, ips } } }),
    },
    containerId: key.containerId,
    netns: NO_NETNS,
    ifName: key.ifName,
    args: cniArgs,
  }
}

const versionOf = ({ netconf }: AttachRequest): CniVersion => CNI_VERSIONS.find((known) => known === netconf['cniVersion']) ?? '1.0.0'
