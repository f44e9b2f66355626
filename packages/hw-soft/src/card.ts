import { createHash } from 'node:crypto'
import { OffloadError, type VfId } from '@cni-offload/sdk'
import { z } from 'zod'
import type { End, FunctionEnd } from '@cni-offload/linux/function'

/** What defines a software card: the same values give the same names and addresses everywhere and always. */
export interface Card {
  /** Name of the device, at most 8 characters: host ends are `<device>v<index>`, ports `<device>p<index>`. */
  readonly device: string
  /** How many functions it has. */
  readonly vfs: number
  /** The node that it belongs to. Part of every MAC address, so that cards of different nodes never collide. */
  readonly node: string
  /** MTU of its functions in their pristine state, in bytes. */
  readonly mtu: number
  /** Domain and bus of PCI addresses that are made up for its functions; they have none without. */
  readonly pciBus?: string | undefined
}

/** Schema of the `vfs` option. */
export const vfCount: z.ZodNumber = z.number().int().min(1).max(1024)

/** Schema of the `mtu` option. 1280 is the least that carries IPv6. */
export const cardMtu: z.ZodNumber = z.number().int().min(1280).max(65_535)

/** Schema of the `pciBus` option: as many buses as a card can fill must fit. */
export const pciBus: z.ZodString = z.string().regex(/^[0-9a-f]{4}:[0-9a-e][0-9a-f]$/, 'domain and bus, 0000:00 to ffff:ef, lower case')

/**
 * Made-up PCI addresses of a function and of the physical function, for trying what runtimes and device plugins do with such
 * addresses. No device has them. The physical function is the first one of the bus, as on most cards.
 */
export function pciAddresses(card: Card, index: number): { readonly pciAddress: string; readonly pfPciAddress: string } | undefined {
  if (card.pciBus === undefined) return undefined
  const [domain, bus] = card.pciBus.split(':')
  const at = (routingId: number): string => {
    const hex = (value: number): string => value.toString(16).padStart(2, '0')
    return `${domain}:${hex(Number.parseInt(bus ?? '', 16) + (routingId >> 8))}:${hex((routingId >> 3) & 0x1f)}.${routingId & 7}`
  }
  return { pciAddress: at(index + 1), pfPciAddress: at(0) }
}

/** The pristine state of one end of function `index`. @throws OffloadError HARDWARE_FAILURE if the card has no such function */
export function endOf(card: Card, vf: VfId, end: End): FunctionEnd {
  if (vf.device !== card.device || !Number.isInteger(vf.index) || vf.index < 0 || vf.index >= card.vfs)
    throw new OffloadError(
      'HARDWARE_FAILURE',
      `the software card "${card.device}" has functions 0 to ${card.vfs - 1}, none is "${vf.device}/${vf.index}"`,
      {
        hint: 'compare the options device and vfs of the host, of the agent and of what plugged the card',
      },
    )
  return { vf, end, name: `${card.device}${end === 'vf' ? 'v' : 'p'}${vf.index}`, mac: macOf(card, vf.index, end), mtu: card.mtu }
}

/** All functions of a card. */
export function functionsOf(card: Card): VfId[] {
  return Array.from({ length: card.vfs }, (_, index) => ({ device: card.device, index }))
}

/** A locally administered unicast address from a hash, so that a re-plugged function has its old one. */
function macOf(card: Card, index: number, end: End): string {
  const digest = createHash('sha256').update(`${card.node}\0${card.device}\0${index}\0${end}`).digest()
  const first = (digest.readUInt8(0) & 0xfc) | 0x02
  return [first, ...digest.subarray(1, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}
