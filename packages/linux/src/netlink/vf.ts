import { constants } from 'node:os'
import { Refusal } from '../native/errno.ts'
import type { VfAdminSettings, VfVlan } from '@cni-offload/sdk'
import type { VfAdmin } from '../net/model.ts'
import { formatMac, parseMac } from './address.ts'
import { attribute, eachAttribute, nested, readAttributes, uint32 } from './codec.ts'
import { IFLA, RTM } from './constants.ts'
import type { NetlinkSocket } from './socket.ts'

const IFLA_VF_INFO = 1
const IFLA_VF = { MAC: 1, VLAN: 2, SPOOFCHK: 4, LINK_STATE: 5, RATE: 6, TRUST: 9, VLAN_LIST: 12 } as const
const IFLA_VF_VLAN_INFO = 1
const RTEXT_FILTER_VF = 1
const RTEXT_FILTER_SKIP_STATS = 8
const LINK_STATES = ['auto', 'enable', 'disable'] as const
const PROTOCOLS = { '802.1q': 0x8100, '802.1ad': 0x88a8 } as const

/** What a driver that does not know a switch answers for it. */
const UNKNOWN = 0xffff_ffff

const header = (index: number): Buffer => {
  const data = Buffer.alloc(16)
  data.writeInt32LE(index, 4)
  return data
}

const words = (...values: readonly number[]): Buffer => Buffer.concat(values.map(uint32))

const macEntry = (vf: number, mac: string): Buffer => {
  const data = Buffer.alloc(36)
  data.writeUInt32LE(vf, 0)
  data.set(parseMac(mac), 4)
  return data
}

const vlanEntry = (vf: number, { id, qos, protocol }: VfVlan): Buffer => {
  const data = Buffer.concat([words(vf, id, qos), Buffer.alloc(4)])
  // The only field of all that is in network byte order.
  data.writeUInt16BE(PROTOCOLS[protocol], 12)
  return data
}

/**
 * Settings of a VF as netlink attributes, one each: a refusal then is of that one.
 *
 * @throws Refusal EINVAL for values that no driver could take
 */
export function vfAttributes(vf: number, settings: VfAdminSettings): Buffer[] {
  const { mac, vlan, minTxRate, maxTxRate, spoofCheck, trust, linkState } = settings
  if (vlan !== undefined && !(inRange(vlan.id, 4094) && inRange(vlan.qos, 7)))
    throw new Refusal(constants.errno.EINVAL, `VLAN ${vlan.id} with priority ${vlan.qos}; 0 to 4094 and 0 to 7 are possible`)
  if ((minTxRate === undefined) !== (maxTxRate === undefined))
    throw new Refusal(constants.errno.EINVAL, 'the two rates of a VF can only be set together')
  return [
    ...(mac === undefined ? [] : [attribute(IFLA_VF.MAC, macEntry(vf, mac))]),
    ...(vlan === undefined ? [] : [nested(IFLA_VF.VLAN_LIST, [attribute(IFLA_VF_VLAN_INFO, vlanEntry(vf, vlan))])]),
    ...(minTxRate === undefined ? [] : [attribute(IFLA_VF.RATE, words(vf, minTxRate, maxTxRate ?? 0))]),
    ...(spoofCheck === undefined ? [] : [attribute(IFLA_VF.SPOOFCHK, words(vf, spoofCheck ? 1 : 0))]),
    ...(trust === undefined ? [] : [attribute(IFLA_VF.TRUST, words(vf, trust ? 1 : 0))]),
    ...(linkState === undefined ? [] : [attribute(IFLA_VF.LINK_STATE, words(vf, LINK_STATES.indexOf(linkState)))]),
  ]
}

const inRange = (value: number, max: number): boolean => Number.isInteger(value) && value >= 0 && value <= max

/** Sets a VF through its physical function, one setting after the other. @throws Refusal of the first that the driver refuses */
export function setVf(socket: NetlinkSocket, index: number, vf: number, settings: VfAdminSettings): void {
  for (const setting of vfAttributes(vf, settings))
    socket.change(RTM.NEWLINK, [header(index), nested(IFLA.VFINFO_LIST, [nested(IFLA_VF_INFO, [setting])])])
}

/** What a physical function says of its VFs, in the order of their numbers; none if it has none. @throws Refusal */
export function listVfs(socket: NetlinkSocket, index: number): VfAdmin[] {
  const mask = attribute(IFLA.EXT_MASK, uint32(RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS))
  return decodeVfs(socket.get(RTM.GETLINK, [header(index), mask]))
}

/** Reads the VFs out of an RTM_NEWLINK payload. */
export function decodeVfs(payload: Buffer): VfAdmin[] {
  const list = readAttributes(payload.subarray(16)).get(IFLA.VFINFO_LIST)
  if (list === undefined) return []
  return [...eachAttribute(list)].flatMap(([type, info]) => (type === IFLA_VF_INFO ? [decodeVf(readAttributes(info))] : []))
}

function decodeVf(info: ReadonlyMap<number, Buffer>): VfAdmin {
  const second = (type: number, offset = 4): number => info.get(type)?.readUInt32LE(offset) ?? 0
  const onOff = (type: number): boolean | undefined => {
    const value = info.get(type)?.readUInt32LE(4) ?? UNKNOWN
    return value === UNKNOWN ? undefined : value !== 0
  }
  const [spoofCheck, trust] = [onOff(IFLA_VF.SPOOFCHK), onOff(IFLA_VF.TRUST)]
  return {
    vf: info.get(IFLA_VF.MAC)?.readUInt32LE(0) ?? 0,
    mac: formatMac(info.get(IFLA_VF.MAC)?.subarray(4, 10) ?? Buffer.alloc(6)),
    vlan: { id: second(IFLA_VF.VLAN), qos: second(IFLA_VF.VLAN, 8), protocol: protocolOf(info.get(IFLA_VF.VLAN_LIST)) },
    minTxRate: second(IFLA_VF.RATE),
    maxTxRate: second(IFLA_VF.RATE, 8),
    ...(spoofCheck === undefined ? {} : { spoofCheck }),
    ...(trust === undefined ? {} : { trust }),
    linkState: LINK_STATES[second(IFLA_VF.LINK_STATE)] ?? 'auto',
  }
}

function protocolOf(list: Buffer | undefined): VfVlan['protocol'] {
  const entry = list === undefined ? undefined : readAttributes(list).get(IFLA_VF_VLAN_INFO)
  return entry !== undefined && entry.length >= 14 && entry.readUInt16BE(12) === PROTOCOLS['802.1ad'] ? '802.1ad' : '802.1q'
}
