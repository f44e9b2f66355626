import type { AttachmentCall, PluginRunner } from '@cni-offload/adapter-delegate'
import { type AttachmentKey, type AttachRequest, type Logger, OffloadError } from '@cni-offload/sdk'
import { type CniResult, encodeResult } from '@cni-offload/sdk/cni'
import { decodeRaw, type ListRunner, type PluginList, type RawResult } from '@cni-offload/sdk/exec'
import type { AgentInspector } from '../agent-api/agent-info.ts'
import type { Deletions } from '../agent-api/deletions.ts'
import { type Endpoints, UNTIL_DONE } from '../agent-api/endpoints.ts'
import { attachmentId, lxcName, ownerOf } from '../agent-api/identity.ts'
import { CiliumApiError } from '../api/api-error.ts'
import { type CiliumClient, DEFAULT_POOL } from '../api/client.ts'
import { type ApiPolicy, type Caller, NO_PATIENCE } from '../api/patience.ts'
import { type Pools, poolsOfEndpoint, withPools } from '../agent-api/pools.ts'
import { plainAddress } from '../agent-api/wishes.ts'
import type { AddressHolders } from './address-holders.ts'
import { delegatesIpam, requireCilium } from './cilium-list.ts'
import { apiFailure, isCertain, lacksNamespace } from './plugin-failure.ts'
import type { Restored, Restorer } from './restorer.ts'

/** What a {@link CiliumRunner} works with. */
export interface CiliumRunnerParts {
  /** Runs the plugins. */
  readonly runner: ListRunner
  /** Keeps to the agent's limits. */
  readonly policy: ApiPolicy
  /** The agent. */
  readonly client: CiliumClient
  /** What the agent is. */
  readonly inspector: AgentInspector
  /** The agent's endpoints. */
  readonly endpoints: Endpoints
  /** Endpoints that have to go. */
  readonly deletions: Deletions
  /** Who has which address. */
  readonly holders: AddressHolders
  /** Gives running pods back what they had. */
  readonly restorer: Restorer
  /** Log. */
  readonly log: Logger
  /** How long an ADD bears with an agent that is not there, milliseconds. */
  readonly connectTimeoutMs: number
}

/** How many addresses of running pods are passed over before a pool is called used up. */
const MOST_PASSED = 16

/** Runs a list that begins with the stock cilium-cni, with what that plugin leaves to its caller. */
export class CiliumRunner implements PluginRunner {
  readonly #parts: CiliumRunnerParts
  /** Attachments whose ADD failed in so many words: nothing goes on behind the agent's back. */
  readonly #refused = new Set<string>()

  /** Runs nothing yet. */
  constructor(parts: CiliumRunnerParts) {
    this.#parts = parts
  }

  async requirePlugins(list: PluginList): Promise<void> {
    await this.#parts.runner.requirePlugins(requireCilium(list))
  }

  /** A new pod by the plugin, again as long as the agent is only busy; a running pod by the API. */
  async add(call: AttachmentCall, signal: AbortSignal): Promise<RawResult> {
    const { deletions, inspector, connectTimeoutMs } = this.#parts
    const caller = this.#caller(signal, { busyMs: Number.POSITIVE_INFINITY, unreachableMs: connectTimeoutMs })
    await deletions.settle(keyOf(call), caller, call.again?.ips.map(plainAddress))
    if (call.again === undefined || call.request === undefined) return await this.#addNew(call, caller)
    const info = await inspector.info(caller)
    // Where others hand out the addresses they are asked for those of the pod as any plugin is.
    if (!info.ownAddresses) return await this.#run(call, caller)
    const restored = await this.#parts.restorer.restore(call.request, { had: call.again, pools: call.kept ?? {} }, info, caller)
    return await this.#parts.runner.add(others(call), signal, printed(call, restored))
  }

  /** The pools of the pod's addresses, without which a running pod would not get them back. */
  async keep(call: AttachmentCall, signal: AbortSignal): Promise<Pools> {
    const { inspector, connectTimeoutMs } = this.#parts
    if (inspector.last?.pools !== true) return {}
    return await this.#poolsOf(call, this.#caller(signal, { ...UNTIL_DONE, unreachableMs: connectTimeoutMs }))
  }

  /**
   * The endpoint of a running pod stays until its successor is made. Any other is looked for when the plugin is done: where the agent
   * was away, the plugin leaves the deletion to the agent's next start, or fails.
   */
  async del(call: AttachmentCall, prevResult: RawResult | undefined, signal: AbortSignal): Promise<void> {
    const { runner, deletions, inspector, holders } = this.#parts
    const key = keyOf(call)
    const certain = this.#refused.delete(attachmentId(key))
    const own = inspector.last?.ownAddresses === true
    if (own && call.anew === true) return await runner.del(others(call), prevResult, signal)
    // The plugin deletes the endpoints of all interfaces that a container has.
    const spared = !delegatesIpam(call.list) && holders.hasSibling(key)
    // An ADD that was cut off may have asked the agent for an endpoint that is still to come.
    const unsure = call.request !== undefined && prevResult === undefined && !certain
    try {
      await runner.del(spared ? others(call) : call, prevResult, signal)
    } catch (error) {
      const failure = apiFailure(error)
      const borne = failure instanceof CiliumApiError && (failure.passing || failure.kind === 'broken')
      if (!borne && !lacksNamespace(error)) throw error
    }
    await deletions.delete(
      { key, owner: ownerOf(podOf(call), key), ips: holders.claimedBy(key), ...withPools(call.kept) },
      unsure,
      this.#caller(signal, NO_PATIENCE),
    )
  }

  /** @throws OffloadError NOT_READY when the agent cannot say now: that is no damage of the attachment */
  async check(call: AttachmentCall, prevResult: RawResult, signal: AbortSignal): Promise<void> {
    try {
      await this.#parts.runner.check(call, prevResult, signal)
    } catch (error) {
      const failure = apiFailure(error)
      if (failure instanceof CiliumApiError) throw new OffloadError('NOT_READY', failure.message, { cause: failure })
      throw error
    }
  }

  async status(list: PluginList, signal: AbortSignal): Promise<void> {
    await this.#parts.runner.status(requireCilium(list), signal)
  }

  /** What cilium-cni sets in the pod's namespace. */
  podSysctls(): Readonly<Record<string, string>> {
    return this.#parts.inspector.last?.podSysctls ?? {}
  }

  /** The router's address is on none of the devices that answer for it. */
  answeringDevice(call: Pick<AttachmentCall, 'containerId' | 'ifName'>): string {
    return lxcName(keyOf(call))
  }

  /** Addresses of running pods whose endpoints the agent has lost are passed over and left for those pods. */
  async #addNew(call: AttachmentCall, caller: Caller): Promise<RawResult> {
    const { client, deletions, holders, log } = this.#parts
    const key = keyOf(call)
    // Until it is told what the plugin has taken, nobody knows whose it is.
    using _taking = holders.take(ownerOf(podOf(call), key))
    for (let passed = 0; passed < MOST_PASSED; passed += 1) {
      const raw = await this.#run(call, caller)
      const taken = decodeRaw(raw, call.list).ips.flatMap(({ address }) => {
        const owner = holders.other(address, key)
        return owner === undefined ? [] : [{ ip: address.replace(/\/.*$/, ''), owner }]
      })
      if (taken.length === 0) return raw
      const pools = await this.#poolsOf(call, caller)
      log.warn({ taken }, 'cilium-agent gave a new pod the address of a running one; asking for another')
      await this.del(call, raw, caller.signal)
      // What could not be deleted now must not be deleted later, under the pod.
      await deletions.settle(key, caller)
      for (const { ip, owner } of taken) {
        const added = holders.claim([ip])
        await client.claim({ ip, pool: pools[ip] ?? DEFAULT_POOL }, owner, caller).catch((error: unknown) => {
          holders.served(added)
          log.warn({ ip, owner, error }, 'the address could not be claimed')
        })
      }
    }
    throw new OffloadError('RESOURCE_EXHAUSTED', 'all addresses that cilium-agent has left are those of running pods')
  }

  async #run(call: AttachmentCall, caller: Caller): Promise<RawResult> {
    const id = attachmentId(keyOf(call))
    this.#refused.delete(id)
    return await this.#parts.policy.run('create', caller, async () => {
      try {
        return await this.#runOnce(call, caller)
      } catch (error) {
        const failure = apiFailure(error)
        if (isCertain(failure)) this.#refused.add(id)
        throw failure
      }
    })
  }

  /** An endpoint of the same id is of an ADD that nobody remembers: it goes, and the plugin is run once more. */
  async #runOnce(call: AttachmentCall, caller: Caller): Promise<RawResult> {
    const { runner, endpoints } = this.#parts
    try {
      return await runner.add(call, caller.signal)
    } catch (error) {
      const failure = apiFailure(error)
      if (!(failure instanceof CiliumApiError) || failure.status !== 400) throw error
      if ((await endpoints.clear(keyOf(call), caller)) === undefined) throw error
      return await runner.add(call, caller.signal)
    }
  }

  async #poolsOf(call: AttachmentCall, caller: Caller): Promise<Pools> {
    return poolsOfEndpoint(await this.#parts.endpoints.of(keyOf(call), caller))
  }

  #caller(signal: AbortSignal, patience: Caller['patience']): Caller {
    return { signal, log: this.#parts.log, patience }
  }
}

/** Cilium tells attachments apart by container and interface alone. */
export function keyOf({ containerId, ifName }: Pick<AttachmentCall, 'containerId' | 'ifName'>): AttachmentKey {
  return { network: 'cilium', containerId, ifName }
}

/** The plugins after cilium-cni. */
function others(call: AttachmentCall): AttachmentCall {
  return { ...call, list: { ...call.list, plugins: call.list.plugins.slice(1) } }
}

function podOf({ request }: AttachmentCall): AttachRequest['pod'] {
  return request?.pod ?? { namespace: '', name: '', uid: '' }
}

/** What cilium-cni would have printed. */
function printed({ list, ifName, netns }: AttachmentCall, { agentEnd, network }: Restored): RawResult {
  const { mac, ips, routes } = network
  const result: CniResult = {
    interfaces: [
      { name: agentEnd.name, mac: agentEnd.mac },
      { name: ifName, mac, sandbox: netns },
    ],
    ips: ips.map((ip) => ({ ...ip, interface: 1 })),
    routes: [...routes],
    dns: {},
  }
  return JSON.parse(encodeResult(result, list.cniVersion)) as RawResult
}
