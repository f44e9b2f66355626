import { type AttachmentKey, OffloadError } from '@cni-offload/sdk'
import { CiliumApiError } from '../api/api-error.ts'
import type { CiliumClient } from '../api/client.ts'
import { type Caller, NO_PATIENCE, type Patience } from '../api/patience.ts'
import type { CiliumEndpoint, EndpointChange } from '../api/schemas.ts'
import { serves } from './endpoint-change.ts'
import type { AgentEnd, Connected } from './endpoint-device.ts'
import { attachmentId, endpointId } from './identity.ts'
import { type Pools, poolsOfEndpoint } from './pools.ts'

/** A limit of the agent is no failure: whoever asks waits for his turn. */
export const UNTIL_DONE: Patience = { busyMs: Number.POSITIVE_INFINITY, unreachableMs: 0 }

/** The endpoints that the agent has for attachments. */
export class Endpoints {
  readonly #client: CiliumClient

  /** Asks nothing yet. */
  constructor(client: CiliumClient) {
    this.#client = client
  }

  /** The endpoint of an attachment; undefined if there is none. */
  async of(key: AttachmentKey, caller: Caller): Promise<CiliumEndpoint | undefined> {
    return await this.#client.endpoint(endpointId(key), caller)
  }

  /** Removes whatever has the id of an attachment: the agent does not take a second one. @returns what there was */
  async clear(key: AttachmentKey, caller: Caller): Promise<CiliumEndpoint | undefined> {
    const endpoint = await this.of(key, caller)
    return endpoint !== undefined && (await this.#client.deleteEndpoint(endpointId(key), caller)) ? endpoint : undefined
  }

  /**
   * Makes an endpoint. Where nobody knows whether the agent has made it, the agent is asked.
   *
   * @param device - the agent's end of its device as it is now
   */
  async create(
    key: AttachmentKey,
    change: EndpointChange,
    device: () => Promise<AgentEnd | undefined>,
    caller: Caller,
  ): Promise<CiliumEndpoint> {
    try {
      return await this.#client.createEndpoint(change, caller)
    } catch (error) {
      if (!(error instanceof CiliumApiError) || error.kind !== 'broken') throw error
      const made = await this.of(key, caller)
      if (made?.status.state === 'ready' && serves(made, await device())) return made
      throw error
    }
  }

  /**
   * Those of the attachments that have an endpoint over the device that there is.
   *
   * @param learn - told of each whose addresses are not of the default pool
   */
  async served(
    connected: readonly Connected[],
    caller: Omit<Caller, 'patience'>,
    learn: (key: AttachmentKey, pools: Pools) => void,
  ): Promise<AttachmentKey[]> {
    const endpoints = await this.#client.endpoints({ ...caller, patience: NO_PATIENCE })
    const byId = new Map(endpoints.map((endpoint) => [endpoint.status['external-identifiers']?.['cni-attachment-id'] ?? '', endpoint]))
    return connected.flatMap(({ key, agentEnd }) => {
      const endpoint = byId.get(attachmentId(key))
      if (endpoint === undefined || !serves(endpoint, agentEnd)) return []
      const pools = poolsOfEndpoint(endpoint)
      if (Object.keys(pools).length > 0) learn(key, pools)
      return [key]
    })
  }

  /** @throws OffloadError CHECK_FAILED when the agent has no endpoint for an attachment, or one that has failed */
  async check(key: AttachmentKey, caller: Omit<Caller, 'patience'>): Promise<void> {
    const id = endpointId(key)
    const health = await this.#client.endpointHealth(id, { ...caller, patience: UNTIL_DONE })
    if (health === undefined) throw new OffloadError('CHECK_FAILED', `cilium-agent has no endpoint ${id}`)
    if (health.overallHealth === 'Failure')
      throw new OffloadError('CHECK_FAILED', `endpoint ${id} of cilium-agent has failed: no policy is applied`)
  }
}
