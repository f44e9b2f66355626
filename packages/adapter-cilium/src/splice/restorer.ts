import type { LinuxNet, NetnsPath, NetOp } from '@cni-offload/linux'
import type { Proxies } from '@cni-offload/linux/splice'
import { type AttachRequest, type AttachResult, OffloadError } from '@cni-offload/sdk'
import type { PodAddresses } from '@cni-offload/sdk/exec'
import type { AddressBook, HeldAddress } from '../agent-api/address-book.ts'
import type { AgentInfo } from '../agent-api/agent-info.ts'
import { endpointChangeOf, serves } from '../agent-api/endpoint-change.ts'
import type { Endpoints } from '../agent-api/endpoints.ts'
import type { AgentEnd } from '../agent-api/endpoint-device.ts'
import { ownerOf } from '../agent-api/identity.ts'
import { PodDevice } from '../agent-api/pod-device.ts'
import { podNetwork } from '../agent-api/pod-network.ts'
import { type Pools, poolsOfEndpoint } from '../agent-api/pools.ts'
import { plainAddress } from '../agent-api/wishes.ts'
import type { Caller } from '../api/patience.ts'
import type { AddressHolders } from './address-holders.ts'

/** What a {@link Restorer} works with. */
export interface RestorerParts {
  /** Network operations. */
  readonly net: LinuxNet
  /** Namespace of the agent. */
  readonly home: NetnsPath
  /** The proxy namespaces. */
  readonly proxies: Proxies
  /** The agent's endpoints. */
  readonly endpoints: Endpoints
  /** Addresses. */
  readonly addresses: AddressBook
  /** Who has which address. */
  readonly holders: AddressHolders
}

/** What a running pod has. */
export interface RunningPod {
  /** MAC and addresses. */
  readonly had: PodAddresses
  /** Pools of the addresses, as far as they are known and not the default one. */
  readonly pools: Pools
}

/** What has been restored. */
export interface Restored {
  /** The agent's end of the device. */
  readonly agentEnd: AgentEnd
  /** What the pod has. */
  readonly network: AttachResult
}

/**
 * Gives running pods back what cilium-cni once made for them. The plugin cannot do that: it takes whatever address comes next. So this
 * is done by the agent's API, in just the form that the plugin would have left.
 */
export class Restorer {
  readonly #parts: RestorerParts

  /** Restores nothing yet. */
  constructor(parts: RestorerParts) {
    this.#parts = parts
  }

  /**
   * Has the agent make an endpoint again that it has lost, over the device that is still there.
   *
   * @returns whether there is an endpoint now; false without the device
   */
  async renew(req: AttachRequest, { mac, ips }: AttachResult, pools: Pools, caller: Caller): Promise<boolean> {
    const device = this.#device(req)
    const [agentEnd, podEnd, endpoint] = await Promise.all([device.agentEnd(), device.podEnd(), this.#parts.endpoints.of(req.key, caller)])
    if (endpoint !== undefined && serves(endpoint, agentEnd)) return true
    if (agentEnd === undefined || podEnd?.mac !== mac) return false
    const had = { mac, ips: ips.map(({ address }) => address) }
    await this.#register(req, device, agentEnd, { had, pools }, caller)
    return true
  }

  /** Makes device and endpoint of a running pod anew, with its MAC and addresses. @throws OffloadError RESOURCE_EXHAUSTED */
  async restore(req: AttachRequest, pod: RunningPod, info: AgentInfo, caller: Caller): Promise<Restored> {
    const { had } = pod
    // Before anything is given up: the agent may not have the family any more.
    const network = podNetwork(info, had.mac, had.ips.map(plainAddress))
    const device = this.#device(req)
    const agentEnd = await device.make(had.mac, info.deviceMtu)
    await this.#register(req, device, agentEnd, pod, caller)
    await this.#parts.net.apply(this.#parts.proxies.of(req.port).path, addressing(req.key.ifName, network))
    return { agentEnd, network }
  }

  /** What keeps frames from flowing between pod and agent, or differs from what the pod was told; undefined if nothing does. */
  async problem(req: AttachRequest, expected: AttachResult): Promise<string | undefined> {
    return await this.#device(req).problem(expected)
  }

  async #register(req: AttachRequest, device: PodDevice, agentEnd: AgentEnd, running: RunningPod, caller: Caller): Promise<void> {
    const { endpoints, holders } = this.#parts
    const { had } = running
    const [key, pod, mac] = [req.key, req.pod, had.mac]
    let first = async (): Promise<Pools> => {
      // What is there knows best; what is kept is for when it is gone.
      const pools = { ...running.pools, ...poolsOfEndpoint(await endpoints.clear(key, caller)) }
      first = () => Promise.resolve(pools)
      return pools
    }
    const held: HeldAddress[] = []
    for (const ip of had.ips) held.push(...(await this.#claim(plainAddress(ip), ownerOf(pod, key), caller, () => first())))
    const change = endpointChangeOf({ key, pod, mac, device: agentEnd, held })
    const made = await endpoints.create(key, change, () => device.agentEnd(), caller)
    holders.served(had.ips)
    const effective = made.status.networking?.mac ?? ''
    if (effective !== '' && effective !== mac)
      throw new OffloadError('ADAPTER_FAILED', `the running pod has the MAC ${mac}, cilium-agent gives its endpoint ${effective}`, {
        hint: 'The annotation cni.cilium.io/mac-address was changed: restart the pod.',
      })
  }

  async #claim(ip: string, owner: string, caller: Caller, first: () => Promise<Pools>): Promise<readonly HeldAddress[]> {
    const { addresses, holders } = this.#parts
    const added = holders.claim([ip])
    try {
      return await addresses.claim([ip], owner, caller, first)
    } catch (error) {
      // Unless an earlier attempt has got it somebody else has it: it is not to be given back with this pod.
      if (OffloadError.is(error) && error.code === 'RESOURCE_EXHAUSTED') holders.served(added)
      throw error
    }
  }

  /** The device as cilium-cni names it: inside the proxy namespace as in the pod. */
  #device({ key, port }: AttachRequest): PodDevice {
    return new PodDevice(this.#parts.net, this.#parts.home, this.#parts.proxies.of(port), key, key.ifName)
  }
}

/** Addresses and routes, which the plugin's own CHECK looks for. IPv6 may be off by default in a new device. */
function addressing(dev: string, { ips, routes }: AttachResult): NetOp[] {
  return [
    ...(ips.some(({ address }) => address.includes(':'))
      ? [{ op: 'sysctl', key: `net.ipv6.conf.${dev.replaceAll('.', '/')}.disable_ipv6`, value: '0' } as const]
      : []),
    ...ips.map(({ address }): NetOp => ({ op: 'addr.add', dev, address })),
    ...routes.map((route): NetOp => ({ op: 'route.add', dev, route, existsOk: true })),
  ]
}
