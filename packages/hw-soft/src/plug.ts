import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { endKey, formatNote, linkKey, searchEverywhere } from '@cni-offload/linux/function'
import type { VfId } from '@cni-offload/sdk'
import { type Card, endOf, functionsOf } from './card.ts'
import { isUnfinished } from './unfinished.ts'

/** Where a card is plugged in. */
export interface Slot {
  /** Kernel access. */
  readonly net: LinuxNet
  /** Namespace of the host: here lie VFs that are free. */
  readonly hostNetns: NetnsPath
  /** Namespace of the DPU's agent: here lie the ports. */
  readonly dpuNetns: NetnsPath
}

/** A card and where it is plugged in. */
export interface CardInSlot extends Slot, Omit<Card, 'mtu'> {
  /** MTU of its functions in bytes. @defaultValue 1500 */
  readonly mtu?: number
}

/**
 * Plugs a software card in: makes every function that does not exist yet, down and without addresses. A function of which
 * any end is found, in the host's or the DPU's namespace or in a named one, is left alone, wherever it is used.
 *
 * @throws OffloadError ALREADY_EXISTS if something else has the name of a function or port
 */
export async function plugCard(options: CardInSlot): Promise<void> {
  const card = cardOf(options)
  for (const vf of functionsOf(card)) await removeUnfinished(options, card, vf)
  const links = await searchEverywhere(options.net, [options.hostNetns, options.dpuNetns])
  const present = new Set(links.map(({ link }) => linkKey(link)))
  for (const vf of functionsOf(card)) {
    const ends = [endKey(endOf(card, vf, 'vf')), endKey(endOf(card, vf, 'port'))]
    if (!ends.some((key) => present.has(key))) await plugFunction(options, card, vf)
  }
}

/** Removes a function's pair if somebody was killed while making it: its host end has no note yet. */
export async function removeUnfinished({ net, hostNetns }: Pick<Slot, 'net' | 'hostNetns'>, card: Card, vf: VfId): Promise<void> {
  const host = endOf(card, vf, 'vf')
  const link = await net.link(hostNetns, host.name)
  if (link !== undefined && isUnfinished(link, host)) await net.apply(hostNetns, [{ op: 'link.del', dev: host.name, absentOk: true }])
}

/** Makes one function's pair. @throws OffloadError ALREADY_EXISTS if something else has one of its names */
export async function plugFunction(slot: Slot, card: Card, vf: VfId): Promise<void> {
  const host = endOf(card, vf, 'vf')
  const port = endOf(card, vf, 'port')
  await slot.net.apply(slot.hostNetns, [
    {
      op: 'link.add-veth',
      dev: host.name,
      mac: host.mac,
      mtu: host.mtu,
      alias: formatNote(host),
      peer: { name: port.name, netns: slot.dpuNetns, mac: port.mac, mtu: port.mtu, alias: formatNote(port) },
    },
  ])
}

/**
 * Pulls a software card out: removes every end of its functions in the host's, the DPU's and all named namespaces; the
 * other end goes with it. What is not there is success; other cards and links are not touched.
 */
export async function unplugCard(options: CardInSlot): Promise<void> {
  const card = cardOf(options)
  const keys = new Set<string | undefined>(
    functionsOf(card).flatMap((vf) => [endKey(endOf(card, vf, 'vf')), endKey(endOf(card, vf, 'port'))]),
  )
  for (const { netns, link } of await searchEverywhere(options.net, [options.hostNetns, options.dpuNetns])) {
    if (keys.has(linkKey(link))) await options.net.apply(netns, [{ op: 'link.del', dev: link.name, absentOk: true }])
  }
}

/** The card of a slot. */
export function cardOf(options: Omit<CardInSlot, 'hostNetns' | 'dpuNetns'>): Card {
  return { device: options.device, vfs: options.vfs, node: options.node, mtu: options.mtu ?? 1500 }
}
