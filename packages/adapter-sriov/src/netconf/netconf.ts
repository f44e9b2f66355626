import { type AttachRequest, parseWith, type VfAdminSettings, type VfVlan } from '@cni-offload/sdk'
import { z } from 'zod'
import { type IpamConf, ipamConf } from './ipam.ts'
import { wantedMac } from './mac.ts'
import { type VlanRange, vlanTrunk } from './vlans.ts'

/** What a network configuration asks for, after parsing. What is absent is not asked for. */
export interface SriovNetconf {
  /** MAC of the pod's interface. */
  readonly mac?: string
  /** VLAN of the pod's untagged frames; with 802.1ad of all its frames, which keep the tags that they have. */
  readonly vlan?: VfVlan
  /** VLANs that the pod may use by tagging frames itself, in order and apart from each other. */
  readonly trunk: readonly VlanRange[]
  /** Least rate of what the pod sends, Mbit/s; 0 for no promise. */
  readonly minTxRate: number
  /** Largest rate of what the pod sends, Mbit/s; 0 for no limit. */
  readonly maxTxRate: number
  /** Whether the pod may send with its own addresses only. */
  readonly spoofCheck?: boolean
  /** Whether the pod may change its MAC and receive what is not for it. */
  readonly trust?: boolean
  /** State of its link. */
  readonly linkState?: NonNullable<VfAdminSettings['linkState']>
  /** Whether it is apart from the other isolated pods of this node, also of its own VLAN. */
  readonly isolated: boolean
  /** Whether the host does the IPAM. */
  readonly hostIpam: boolean
  /** IPAM. */
  readonly ipam: IpamConf
}

/** Go reads what is null as not given, and an empty text as not set. */
const optional = <T>(schema: z.ZodType<T>): z.ZodType<T | undefined> =>
  z.preprocess((value) => (value === null || value === '' ? undefined : value), schema.optional())

const whole = (min: number, max: number, what: string): z.ZodType<number> =>
  z.number(`${what}, ${min}–${max}`).refine((value) => Number.isInteger(value) && value >= min && value <= max, `${what}, ${min}–${max}`)

const onOff = z.enum(['on', 'off'], '"on" or "off"').transform((value) => value === 'on')
const protocol = z.preprocess(
  (value) => (typeof value === 'string' ? value.toLowerCase() : value),
  z.enum(['802.1q', '802.1ad'], '"802.1q" or "802.1ad"'),
) as z.ZodType<VfVlan['protocol']>
const rate = whole(0, 0x7fff_ffff, 'a rate in Mbit/s')

const fields = z
  .looseObject({
    vlan: optional(whole(0, 4094, 'a VLAN, 0 for none')),
    vlanQoS: optional(whole(0, 7, 'a priority')),
    vlanProto: optional(protocol),
    vlanTrunk: optional(vlanTrunk),
    vlan_trunk: optional(vlanTrunk),
    min_tx_rate: optional(rate),
    max_tx_rate: optional(rate),
    spoofchk: optional(onOff),
    trust: optional(onOff),
    link_state: optional(z.enum(['auto', 'enable', 'disable'], '"auto", "enable" or "disable"')),
    portIsolation: optional(z.boolean()),
    hostIPAM: optional(z.boolean()),
    ipam: ipamConf,
  })
  .superRefine(
    ({ vlan = 0, vlanQoS = 0, vlanProto, vlanTrunk: list, vlan_trunk: text, min_tx_rate: min = 0, max_tx_rate: max = 0 }, ctx) => {
      const refuse = (field: string, message: string): void => ctx.addIssue({ code: 'custom', path: [field], message })
      if (vlan === 0 && vlanQoS !== 0) refuse('vlanQoS', 'a priority needs a vlan from 1 to 4094')
      if (vlan === 0 && vlanProto === '802.1ad') refuse('vlanProto', '802.1ad needs a vlan from 1 to 4094')
      if (max !== 0 && min > max) refuse('min_tx_rate', `at most max_tx_rate, which is ${max}`)
      if (list !== undefined && text !== undefined) refuse('vlan_trunk', 'either this or vlanTrunk')
      if (vlanProto === '802.1ad' && (list ?? text) !== undefined)
        refuse('vlanProto', 'a VLAN of 802.1ad carries all tags of the pod: it has no list of VLANs')
    },
  )

/**
 * Reads what sriov-cni reads, and refuses what it refuses.
 *
 * @throws OffloadError INVALID_NETCONF that names field, value and what is possible
 */
export function parseNetconf(req: Pick<AttachRequest, 'netconf' | 'runtimeConfig' | 'cniArgs' | 'vlan'>): SriovNetconf {
  // Whoever asks for a VLAN otherwise than in the configuration is heard, too.
  const written = req.vlan === undefined ? req.netconf : { ...req.netconf, vlan: req.vlan }
  const read = parseWith(fields, written, 'netconf', 'INVALID_NETCONF')
  const mac = wantedMac(req)
  const { vlan: id = 0, vlanQoS: qos = 0, vlanProto = '802.1q', spoofchk, trust, link_state: linkState } = read
  return {
    ...(mac === undefined ? {} : { mac }),
    ...(id === 0 ? {} : { vlan: { id, qos, protocol: vlanProto } }),
    trunk: read.vlanTrunk ?? read.vlan_trunk ?? [],
    minTxRate: read.min_tx_rate ?? 0,
    maxTxRate: read.max_tx_rate ?? 0,
    ...(spoofchk === undefined ? {} : { spoofCheck: spoofchk }),
    ...(trust === undefined ? {} : { trust }),
    ...(linkState === undefined ? {} : { linkState }),
    isolated: read.portIsolation ?? false,
    hostIpam: read.hostIPAM ?? false,
    ipam: read.ipam,
  }
}
