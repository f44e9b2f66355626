import { type NetnsPath, PRISTINE_TRAITS } from '@cni-offload/linux'
import { endOf, functionsOf } from './card.ts'
import { searchEverywhere } from './find.ts'
import { endKey, linkKey } from './note.ts'
import { type CardInSlot, cardOf } from './plug.ts'

/** What {@link movePorts} needs to know of a card and its DPU. */
export type CardPorts = Omit<CardInSlot, 'hostNetns'>

/**
 * Moves every port of a card into a namespace, wherever it lies: in the DPU's namespace, or in a named one that an adapter moved
 * it to. It arrives pristine: down, in no bridge, without addresses, filters and redirects, under its own name. The VFs at the
 * other ends stay where they are and only lose their carrier, as those of a real card do while its DPU boots.
 *
 * Two such moves, away before the DPU's namespace is destroyed and back into the new one, are the reboot of a software DPU.
 * Ports that are there already are left as they are.
 *
 * @returns how many were moved
 * @throws OffloadError ALREADY_EXISTS if something else has the name of a port there
 */
export async function movePorts(options: CardPorts, to: NetnsPath): Promise<number> {
  const { net, dpuNetns } = options
  const card = cardOf(options)
  const ports = new Map(functionsOf(card).map((vf) => [endKey(endOf(card, vf, 'port')), endOf(card, vf, 'port')]))
  const target = await net.netnsIdentity(to)
  let moved = 0
  for (const { netns, link } of await searchEverywhere(net, [to, dpuNetns])) {
    const key = linkKey(link)
    const port = key === undefined ? undefined : ports.get(key)
    if (port === undefined || (await net.netnsIdentity(netns)) === target) continue
    await net.apply(netns, [
      { op: 'link.set', dev: link.name, up: false, master: null, mac: port.mac, mtu: port.mtu, traits: PRISTINE_TRAITS, altNames: false },
      // The kernel drops addresses, neighbours and queueing disciplines, with all their filters, of a link that leaves its namespace.
      { op: 'link.move', dev: link.name, netns: to, name: port.name },
    ])
    moved++
  }
  return moved
}
