import { type AttachRequest, type AttachResult, OffloadError } from '@cni-offload/sdk'
import { wantedOffsets } from '@cni-offload/sdk/pool'
import type { SriovNetconf } from '../netconf/netconf.ts'
import type { AttachmentStore } from '../state/attachment-store.ts'
import type { PluginIpam } from './plugin-ipam.ts'
import { type Assignment, poolAssignment, poolsOf } from './pools.ts'

/** Makes the answer of what an IPAM gave. */
export type Describe = (assignment: Assignment) => AttachResult

/** Where pods' addresses come from: the host, the adapter's own pools, a plugin on the DPU, or nowhere. */
export class Ipam {
  readonly #store: AttachmentStore
  readonly #plugins: PluginIpam

  /** Works with what the adapter has. */
  constructor(store: AttachmentStore, plugins: PluginIpam) {
    this.#store = store
    this.#plugins = plugins
  }

  /** Refuses what could not be given, before anything is done. @throws OffloadError UNSUPPORTED_FIELD, INVALID_NETCONF */
  async require(req: AttachRequest, { hostIpam, ipam }: SriovNetconf): Promise<void> {
    if (req.hostIpam !== undefined) return
    if (hostIpam)
      throw new OffloadError('UNSUPPORTED_FIELD', 'netconf: hostIPAM = true: the host has sent no addresses', {
        hint: 'Update the host daemon, or leave hostIPAM out and have the IPAM run on the DPU.',
      })
    const [asked, field] = wishOf(req)
    if (ipam.type === 'none' && req.had === undefined && Array.isArray(asked) && asked.length > 0)
      throw new OffloadError('UNSUPPORTED_FIELD', `${field} = ${JSON.stringify(asked)}: the network has no ipam that could give addresses`)
    if (ipam.type === 'plugin') await this.#plugins.require(ipam.plugin)
  }

  /** Gets the addresses of an attachment that has begun, and notes its answer. @throws OffloadError RESOURCE_EXHAUSTED, ADAPTER_FAILED */
  async assign(req: AttachRequest, { ipam }: SriovNetconf, describe: Describe, signal: AbortSignal): Promise<AttachResult> {
    if (req.hostIpam === undefined && ipam.type === 'pool') {
      const pools = poolsOf(req.key.network, ipam)
      const wanted = wantedOffsets(pools, ...wishOf(req))
      return this.#store.assign(req, pools, wanted, (addresses) => describe(poolAssignment(ipam, addresses)))
    }
    const result = describe(await this.#others(req, ipam, signal))
    this.#store.finish(req, result)
    return result
  }

  /** Gives the addresses of an attachment back. */
  async release(req: AttachRequest, { ipam }: SriovNetconf, signal: AbortSignal): Promise<void> {
    if (req.hostIpam === undefined && ipam.type === 'plugin') await this.#plugins.del(req, ipam.plugin, signal)
    this.#store.release(req.key)
  }

  /** Asks whoever gave the addresses whether they still are the pod's. @throws OffloadError CHECK_FAILED */
  async check(req: AttachRequest, { ipam }: SriovNetconf, expected: AttachResult, signal: AbortSignal): Promise<void> {
    if (req.hostIpam === undefined && ipam.type === 'plugin') await this.#plugins.check(req, ipam.plugin, expected, signal)
  }

  async #others(req: AttachRequest, ipam: SriovNetconf['ipam'], signal: AbortSignal): Promise<Assignment> {
    if (req.hostIpam !== undefined) return req.hostIpam
    if (ipam.type === 'plugin') return await this.#plugins.add(req, ipam.plugin, signal)
    const { ips = [], routes = [], dns = {} } = req.had ?? {}
    return { ips, routes, dns }
  }
}

/** What a running pod has counts more than what was once asked for; all of it has to be given again. */
function wishOf({ had, runtimeConfig }: AttachRequest): [asked: unknown, field: string] {
  return had === undefined ? [runtimeConfig['ips'], 'runtimeConfig.ips'] : [had.ips.map(({ address }) => address), 'had.ips']
}
