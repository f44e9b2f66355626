import type { LinkTraits } from '../net/model.ts'
import { formatMac, parseMac } from './address.ts'
import { attribute, eachAttribute, readText, uint32 } from './codec.ts'
import { IFF, IFLA } from './constants.ts'

const FLAGS = [
  ['arp', IFF.NOARP, false],
  ['multicast', IFF.MULTICAST, true],
  ['promiscuous', IFF.PROMISC, true],
  ['allMulticast', IFF.ALLMULTI, true],
] as const

/** Interface flags to set and which of them to touch, for the traits that are flags. */
export function traitFlags(traits: Partial<LinkTraits>): { flags: number; change: number } {
  let flags = 0
  let change = 0
  for (const [trait, bit, when] of FLAGS) {
    if (traits[trait] === undefined) continue
    change |= bit
    if (traits[trait] === when) flags |= bit
  }
  return { flags, change }
}

/** Attributes for the traits that are no flags. @throws Refusal EINVAL if the broadcast address is none */
export function traitAttributes({ linkMode, txQueueLength, group, broadcast }: Partial<LinkTraits>): Buffer[] {
  return [
    ...(broadcast === undefined ? [] : [attribute(IFLA.BROADCAST, parseMac(broadcast))]),
    ...(txQueueLength === undefined ? [] : [attribute(IFLA.TXQLEN, uint32(txQueueLength))]),
    ...(linkMode === undefined ? [] : [attribute(IFLA.LINKMODE, Buffer.of(linkMode))]),
    ...(group === undefined ? [] : [attribute(IFLA.GROUP, uint32(group))]),
  ]
}

/** Traits out of the flags and attributes of a link. */
export function readTraits(flags: number, attributes: ReadonlyMap<number, Buffer>): LinkTraits {
  return {
    arp: (flags & IFF.NOARP) === 0,
    multicast: (flags & IFF.MULTICAST) !== 0,
    promiscuous: (flags & IFF.PROMISC) !== 0,
    allMulticast: (flags & IFF.ALLMULTI) !== 0,
    linkMode: attributes.get(IFLA.LINKMODE)?.readUInt8(0) ?? 0,
    txQueueLength: attributes.get(IFLA.TXQLEN)?.readUInt32LE(0) ?? 0,
    group: attributes.get(IFLA.GROUP)?.readUInt32LE(0) ?? 0,
    broadcast: formatMac(attributes.get(IFLA.BROADCAST) ?? Buffer.alloc(0)),
  }
}

/** Alternative names out of the attributes of a link. The kernel takes any bytes for a name: what is no UTF-8 is not told exactly. */
export function readAltNames(attributes: ReadonlyMap<number, Buffer>): string[] {
  const list = attributes.get(IFLA.PROP_LIST)
  return list === undefined ? [] : [...eachAttribute(list)].filter(([type]) => type === IFLA.ALT_IFNAME).map(([, name]) => readText(name))
}
