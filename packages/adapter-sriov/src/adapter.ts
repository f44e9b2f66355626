import type { LinuxNet } from '@cni-offload/linux'
import {
  type AdapterCapabilities,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CheckRequest,
  type CniAdapter,
  type DetachRequest,
  formatAttachmentKey,
  formatVfId,
  type KnownAttachment,
  type Logger,
  OffloadError,
  type OpContext,
  type PortRef,
  type RememberedAttachment,
  UNKNOWN_MAC,
} from '@cni-offload/sdk'
import type { PortPlan, VlanBridge } from './bridge/vlan-bridge.ts'
import type { Ipam } from './ipam/ipam.ts'
import { poolsOf } from './ipam/pools.ts'
import { parseNetconf, type SriovNetconf } from './netconf/netconf.ts'
import type { SriovOptions } from './options.ts'
import { decide, type Policy } from './policy/policy.ts'
import type { AttachmentStore } from './state/attachment-store.ts'
import { reached } from './steps.ts'

/** What a {@link SriovAdapter} works with. */
export interface SriovParts {
  /** Network operations. */
  readonly net: LinuxNet
  /** What is remembered. */
  readonly store: AttachmentStore
  /** The bridge. */
  readonly bridge: VlanBridge
  /** Addresses. */
  readonly ipam: Ipam
  /** Ends plugins that an agent of before has left running. */
  readonly endOrphans: (ctx: OpContext) => Promise<unknown>
  /** MTU of pods, and whether the host may set VLANs. */
  readonly options: Pick<SriovOptions, 'mtu' | 'hostVlan'>
}

/** What a request comes to. */
interface Wish {
  readonly netconf: SriovNetconf
  readonly policy: Policy
  readonly mac: string
}

/** Plain VF networks as of sriov-cni: each port is in its VLAN on one bridge, with guards and limits on the port itself. */
export class SriovAdapter implements CniAdapter {
  readonly name = 'sriov'
  readonly specVersion = 'v1'
  readonly capabilities: AdapterCapabilities = { families: ['ipv4', 'ipv6'], runtimeConfig: ['mac', 'ips'], fixedMac: true }
  readonly #parts: SriovParts

  /** Takes over `net` and `store`: both are disposed with the adapter. */
  constructor(parts: SriovParts) {
    this.#parts = parts
  }

  async start(ports: readonly PortRef[], ctx: OpContext, known: readonly KnownAttachment[] = []): Promise<void> {
    const { store, bridge, endOrphans } = this.#parts
    await endOrphans(ctx)
    const { log } = ctx
    for (const attachment of [...store.all(), ...known]) this.#hold(attachment, log)
    await bridge.start()
    await bridge.unplugOthers(ports, new Set(store.all().map(({ request }) => request.port.name)))
  }

  async attach(req: AttachRequest, { signal, log }: OpContext): Promise<AttachResult> {
    cancelled(signal)
    const { store, bridge, ipam } = this.#parts
    const wish = this.#wish(req)
    const known = store.get(req.key)
    const same = known === undefined ? undefined : this.#again(req, wish, known)
    if (same === undefined) await ipam.require(req, wish.netconf)
    if (known !== undefined && same === undefined) await this.#remove(known.request, signal)
    log.info({ port: req.port.name, enforced: wish.policy.enforcers, vf: wish.policy.vf }, 'where the settings of the VF are enforced')
    if (same !== undefined) {
      store.finish(req, same)
      const plan = planOf(req, wish, same)
      await bridge.plug(plan)
      await bridge.announce(plan)
      return same
    }
    store.begin(req, wish.mac)
    reached('sriov.attach.noted')
    try {
      const result = await ipam.assign(req, wish.netconf, (assignment) => asBefore(this.#describe(wish, assignment), req.had), signal)
      reached('sriov.attach.addressed')
      const plan = planOf(req, wish, result)
      await bridge.plug(plan)
      reached('sriov.attach.port-plugged')
      await bridge.announce(plan)
      cancelled(signal)
      return result
    } catch (error) {
      await this.#undo(req, log)
      throw error
    }
  }

  async detach(req: DetachRequest, { signal }: OpContext): Promise<void> {
    const known = this.#parts.store.get(req.key)
    if (known !== undefined) return await this.#remove(known.request, signal)
    if (req.port !== undefined) await this.#parts.bridge.unplug(req.port.name)
  }

  async check(req: CheckRequest, { signal }: OpContext): Promise<void> {
    const { store, bridge, ipam } = this.#parts
    const known = store.get(req.key)
    if (known?.result === undefined) throw new OffloadError('CHECK_FAILED', `attachment ${formatAttachmentKey(req.key)} is not known`)
    const [has, should] = [addressList(known.result), addressList(req.expected)]
    if (has !== should) throw new OffloadError('CHECK_FAILED', `the pod has ${has}, expected ${should}`)
    const wish = this.#wish(known.request)
    const problem = await bridge.problem(planOf(known.request, wish, known.result))
    if (problem !== undefined) throw new OffloadError('CHECK_FAILED', problem)
    await ipam.check(known.request, wish.netconf, known.result, signal)
  }

  async status(): Promise<void> {
    const problem = await this.#parts.bridge.bridgeProblem()
    if (problem !== undefined)
      throw new OffloadError('NOT_READY', problem, { hint: 'Restart the agent: it sets bridge and uplink up when it starts.' })
  }

  /** What is remembered and really forwards: what has left the bridge is left out, so that resync repairs it. */
  async list(): Promise<AttachmentKey[]> {
    const made = this.#parts.store.all().filter(({ result }) => result !== undefined)
    const plans = made.map(({ request }) => ({ port: request.port.name, policy: this.#wish(request).policy.port }))
    const forwarding = await this.#parts.bridge.forwarding(plans)
    return made.filter(({ request }) => forwarding.has(request.port.name)).map(({ request }) => request.key)
  }

  async remembered(): Promise<RememberedAttachment[]> {
    return this.#parts.store.all()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts.store[Symbol.dispose]()
    await this.#parts.net[Symbol.asyncDispose]()
  }

  /** @throws OffloadError INVALID_NETCONF, UNSUPPORTED_FIELD */
  #wish(req: AttachRequest): Wish {
    if (req.flags.ipsec)
      throw new OffloadError('UNSUPPORTED_FIELD', 'flags.ipsec = true: adapter "sriov" encrypts nothing', {
        hint: 'Leave ipsec out, or use a network of adapter "cilium".',
      })
    const netconf = parseNetconf(req)
    const policy = decide(netconf, { enforces: req.hostEnforces, tagsReachPort: this.#parts.options.hostVlan })
    const mac = req.had?.mac ?? netconf.mac ?? req.vfMac
    if (mac === UNKNOWN_MAC)
      throw new OffloadError('INVALID_NETCONF', `netconf: mac is missing, and the MAC of VF ${formatVfId(req.port.vf)} is not known`, {
        hint: 'A userspace driver has the VF: give "mac", and have the program use it.',
      })
    return { netconf, policy, mac }
  }

  /** What a repeated call is answered with: the same addresses, and what the host is asked for by now. Undefined if it asks for others. */
  #again(req: AttachRequest, wish: Wish, known: RememberedAttachment): AttachResult | undefined {
    const { request, result } = known
    if (result === undefined || request.port.name !== req.port.name || result.mac !== wish.mac) return undefined
    if (req.had !== undefined && addressList(req.had) !== addressList(result)) return undefined
    if (req.hostIpam !== undefined && JSON.stringify(req.hostIpam.ips) !== JSON.stringify(result.ips)) return undefined
    if (JSON.stringify(this.#wish(request).netconf.ipam) !== JSON.stringify(wish.netconf.ipam)) return undefined
    const { vf: _before, ...rest } = result
    return { ...rest, ...vfOf(wish.policy) }
  }

  #describe({ mac, policy }: Wish, { ips, routes, dns }: Pick<AttachResult, 'ips' | 'routes' | 'dns'>): AttachResult {
    return { mac, mtu: this.#parts.options.mtu, ips, routes, neighbours: [], dns, sysctls: {}, ...vfOf(policy) }
  }

  /** The port first: an address must not be free while its last owner can still send. */
  async #remove(request: AttachRequest, signal: AbortSignal): Promise<void> {
    const { store, bridge, ipam } = this.#parts
    await bridge.unplug(request.port.name)
    reached('sriov.detach.port-unplugged')
    await ipam.release(request, parseNetconf(request), signal)
    reached('sriov.detach.addresses-released')
    store.forget(request.key)
    reached('sriov.detach.forgotten')
  }

  async #undo(req: AttachRequest, log: Logger): Promise<void> {
    try {
      await this.#parts.bridge.unplug(req.port.name)
      // What a running pod uses is nobody else's, whether it is connected or not.
      if (req.had === undefined) await this.#remove(req, AbortSignal.timeout(UNDO_MS))
    } catch (error) {
      // It stays known, and is detached.
      log.warn({ err: error, key: formatAttachmentKey(req.key) }, 'an attach that failed could not be undone')
    }
  }

  #hold({ request, result }: RememberedAttachment, log: Logger): void {
    if (result === undefined) return
    try {
      const { ipam } = this.#wish(request).netconf
      this.#parts.store.hold({ request, result }, ipam.type === 'pool' ? poolsOf(request.key.network, ipam) : [])
    } catch (error) {
      if (!OffloadError.is(error) || !NOT_OURS.has(error.code)) throw error
      log.error({ err: error, key: formatAttachmentKey(request.key) }, 'an attachment cannot be taken over')
    }
  }
}

/** Why an attachment of the agent's journal is none of this adapter's: another one had the network, or its address is another pod's by now. */
const NOT_OURS: ReadonlySet<string> = new Set(['ALREADY_EXISTS', 'INVALID_NETCONF', 'UNSUPPORTED_FIELD'])

/** How long undoing may take, whoever has given up. */
const UNDO_MS = 30_000

const planOf = ({ port }: AttachRequest, { policy }: Wish, { mac, ips }: AttachResult): PortPlan => ({
  port: port.name,
  policy: policy.port,
  mac,
  ips: ips.map(({ address }) => address),
})

const vfOf = ({ vf }: Policy): Pick<AttachResult, 'vf'> => (vf === undefined ? {} : { vf })

/** @throws OffloadError ADAPTER_FAILED when a running pod would get something else than it has */
function asBefore(result: AttachResult, had: AttachResult | undefined): AttachResult {
  if (had === undefined || addressList(result) === addressList(had)) return result
  throw new OffloadError('ADAPTER_FAILED', `the running pod has ${addressList(had)}, the network makes it ${addressList(result)}`, {
    hint: 'Restart the pod, or set the network back.',
  })
}

function cancelled(signal: AbortSignal): void {
  if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', 'attach')
}

const addressList = ({ mac, ips }: AttachResult): string => [mac, ...ips.map(({ address }) => address)].join(', ')
