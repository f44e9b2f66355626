import { type AttachRequest, OffloadError, type VfAdminSetting, type VfAdminSettings, type VfVlan } from '@cni-offload/sdk'
import type { SriovNetconf } from '../netconf/netconf.ts'
import type { VlanRange } from '../netconf/vlans.ts'

/** How a port treats the tags of frames. `access`: what the pod sends gets the tag, and loses it on the way back. */
export type Tagging =
  /** Frames without tag, in the network without VLAN. */
  | { readonly kind: 'untagged' }
  /** Frames without tag (802.1q) or any frames (802.1ad); the port puts the tag on. */
  | { readonly kind: 'access'; readonly vlan: VfVlan }
  /** The card has put the tag on already, and takes it off. */
  | { readonly kind: 'tagged'; readonly id: number }
  /** The pod tags its frames; those without tag are in the VLAN `native`, if there is one. */
  | { readonly kind: 'trunk'; readonly native?: VfVlan; readonly ranges: readonly VlanRange[] }

/** What a port on the DPU enforces. */
export interface PortPolicy {
  /** Tags. */
  readonly tagging: Tagging
  /** Whether frames from another MAC than the pod's are dropped. */
  readonly guardMac: boolean
  /** Whether packets from other addresses than the pod's are dropped, if it has any. */
  readonly guardIp: boolean
  /** Largest rate of what the pod sends, Mbit/s; 0 for no limit. */
  readonly maxTxRate: number
  /** Whether frames flow at all. */
  readonly up: boolean
  /** Whether the pod gets what is for MAC addresses that it has changed to, and for those that nobody knows. */
  readonly promiscuous: boolean
  /** Whether it is apart from other isolated ports. */
  readonly isolated: boolean
}

/** Where a setting is enforced. */
export type Enforcer = 'host' | 'port' | 'host and port'

/** Who enforces what. */
export interface Policy {
  /** What the host's physical function is asked to enforce; absent if nothing. */
  readonly vf?: VfAdminSettings
  /** What the port enforces. */
  readonly port: PortPolicy
  /** Where each setting that was asked for is enforced, by the name of its field: for the log. */
  readonly enforcers: Readonly<Record<string, Enforcer>>
}

/** What is known of the host besides what it says itself. */
export interface HostTraits {
  /** What its physical function can do for this VF; nothing by default. */
  readonly enforces?: AttachRequest['hostEnforces']
  /** Whether a VLAN that the physical function sets is seen as a tag on the DPU's port, so that it may do it. */
  readonly tagsReachPort: boolean
}

/**
 * Decides where everything that a configuration asks for is enforced: on the host, where its physical function was probed to do it, else
 * on the port.
 *
 * @throws OffloadError UNSUPPORTED_FIELD for what nobody can enforce
 */
export function decide(netconf: SriovNetconf, { enforces = [], tagsReachPort }: HostTraits): Policy {
  const host = new Set<VfAdminSetting>(enforces)
  const { mac, vlan, trunk, minTxRate, maxTxRate, spoofCheck, trust, linkState } = netconf
  const hostVlan = tagsReachPort && vlan !== undefined && trunk.length === 0 && vlan.protocol === '802.1q' && host.has('vlan')
  const limited = minTxRate > 0 || maxTxRate > 0
  const hostRate = limited && host.has('rate')
  if (minTxRate > 0 && !hostRate)
    throw new OffloadError(
      'UNSUPPORTED_FIELD',
      `netconf: min_tx_rate = ${minTxRate}: only a physical function can promise a rate, and this one does not`,
      {
        hint: 'Leave min_tx_rate out; max_tx_rate can be enforced on the DPU.',
      },
    )
  const vf: VfAdminSettings = {
    ...(mac !== undefined && host.has('mac') ? { mac } : {}),
    ...(hostVlan ? { vlan } : {}),
    ...(hostRate ? { minTxRate, maxTxRate } : {}),
    ...(spoofCheck !== undefined && host.has('spoofCheck') ? { spoofCheck } : {}),
    ...(trust !== undefined && host.has('trust') ? { trust } : {}),
    ...(linkState !== undefined && host.has('linkState') ? { linkState } : {}),
  }
  const checks = spoofCheck ?? true
  const trusted = trust ?? false
  return {
    ...(Object.keys(vf).length === 0 ? {} : { vf }),
    port: {
      tagging: taggingOf(vlan, trunk, hostVlan),
      guardMac: checks && !trusted,
      guardIp: checks,
      maxTxRate: hostRate ? 0 : maxTxRate,
      up: linkState !== 'disable',
      promiscuous: trusted,
      isolated: netconf.isolated,
    },
    enforcers: {
      ...(mac === undefined ? {} : { mac: vf.mac === undefined ? 'port' : 'host and port' }),
      ...(vlan === undefined ? {} : { vlan: hostVlan ? 'host and port' : 'port' }),
      ...(trunk.length === 0 ? {} : { vlanTrunk: 'port' }),
      ...(minTxRate === 0 ? {} : { min_tx_rate: 'host' }),
      ...(maxTxRate === 0 ? {} : { max_tx_rate: hostRate ? 'host' : 'port' }),
      spoofchk: vf.spoofCheck === undefined ? 'port' : 'host and port',
      ...(trust === undefined ? {} : { trust: vf.trust === undefined ? 'port' : 'host and port' }),
      ...(linkState === undefined ? {} : { link_state: vf.linkState === undefined ? 'port' : 'host and port' }),
      ...(netconf.isolated ? { portIsolation: 'port' } : {}),
    },
  }
}

function taggingOf(vlan: VfVlan | undefined, ranges: readonly VlanRange[], hostVlan: boolean): Tagging {
  if (ranges.length > 0) return { kind: 'trunk', ranges, ...(vlan === undefined ? {} : { native: vlan }) }
  if (vlan === undefined) return { kind: 'untagged' }
  return hostVlan ? { kind: 'tagged', id: vlan.id } : { kind: 'access', vlan }
}
