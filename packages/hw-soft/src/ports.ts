import { type NetnsPath, PRISTINE_TRAITS } from '@cni-offload/linux'
import { type End, endKey, formatNote, linkKey, parseNote, searchEverywhere } from '@cni-offload/linux/function'
import { endOf, functionsOf } from './card.ts'
import { type CardInSlot, cardOf } from './plug.ts'

/** What {@link movePorts} needs to know of a card and its DPU. */
export type CardPorts = Omit<CardInSlot, 'hostNetns'>

/** What {@link moveFunctions} needs to know of a card and its host. */
export type CardFunctions = Omit<CardInSlot, 'dpuNetns'>

/**
 * Moves every port of a card into a namespace, wherever it lies: in the DPU's namespace, or in a named one that an adapter moved
 * it to. It arrives pristine: down, in no bridge, without addresses, filters, redirects and notes of adapters, under its own name. The VFs at the
 * other ends stay where they are and only lose their carrier, as those of a real card do while its DPU boots.
 *
 * Two such moves, away before the DPU's namespace is destroyed and back into the new one, are the reboot of a software DPU.
 * Ports that are there already are left as they are.
 *
 * @returns the namespaces that they came from, one for each that was moved
 * @throws OffloadError ALREADY_EXISTS if something else has the name of a port there
 */
export async function movePorts(options: CardPorts, to: NetnsPath): Promise<NetnsPath[]> {
  return await moveEnds('port', options, options.dpuNetns, to)
}

/**
 * Moves every VF of a card into a namespace, wherever it lies: at home or in a pod. It arrives pristine. The ports at the other
 * ends stay where they are. Two such moves are the reboot of a host, as {@link movePorts} are that of a DPU.
 *
 * @returns the namespaces that they came from, one for each that was moved
 * @throws OffloadError ALREADY_EXISTS if something else has the name of a VF there
 */
export async function moveFunctions(options: CardFunctions, to: NetnsPath): Promise<NetnsPath[]> {
  return await moveEnds('vf', options, options.hostNetns, to)
}

async function moveEnds(
  end: End,
  options: Omit<CardInSlot, 'hostNetns' | 'dpuNetns'>,
  home: NetnsPath,
  to: NetnsPath,
): Promise<NetnsPath[]> {
  const { net } = options
  const card = cardOf(options)
  const ends = new Map(functionsOf(card).map((vf) => [endKey(endOf(card, vf, end)), endOf(card, vf, end)]))
  const target = await net.netnsIdentity(to)
  const from: NetnsPath[] = []
  for (const { netns, link } of await searchEverywhere(net, [to, home])) {
    const key = linkKey(link)
    const spec = key === undefined ? undefined : ends.get(key)
    if (spec === undefined || (await net.netnsIdentity(netns)) === target) continue
    const note = parseNote(link.alias)
    await net.apply(netns, [
      ...(note === undefined ? [] : [{ op: 'link.set', dev: link.name, alias: formatNote(note) } as const]),
      { op: 'link.set', dev: link.name, up: false, master: null, mac: spec.mac, mtu: spec.mtu, traits: PRISTINE_TRAITS, altNames: false },
      // The kernel drops addresses, neighbours and queueing disciplines, with all their filters, of a link that leaves its namespace.
      { op: 'link.move', dev: link.name, netns: to, name: spec.name },
    ])
    from.push(netns)
  }
  return from
}
