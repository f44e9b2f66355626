import { OffloadError } from '@cni-offload/sdk'
import { normalizeCidr } from '@cni-offload/linux'
import { pollUntil } from '@cni-offload/linux/machine'
import { readPciDevice } from '@cni-offload/linux/pci'
import type { AddressChange, LinkUpChange } from './change.ts'
import type { ChangeKind } from './kind.ts'
import type { SetupSite } from './site.ts'

/** Addresses of the two ends where nobody says otherwise. */
export const MANAGEMENT_ADDRESSES = { dpu: '192.168.1.1/24', host: '192.168.1.2/24' } as const

/** Likewise, where IPv4 is not wanted: of the link only, so that they cannot clash with any network. */
export const MANAGEMENT_LINK_LOCAL = { dpu: 'fe80::1/64', host: 'fe80::2/64' } as const

/** A driver that has just been loaded makes its interface within a second, once the card answers. */
const INTERFACE_WITHIN_MS = 15_000
const LOOK_EVERY_MS = 100

/** Name of the interface of a function now, undefined if it has none here. */
async function interfaceNow({ machine }: SetupSite, address: string): Promise<string | undefined> {
  return (await readPciDevice(machine, address))?.netdevs?.[0]
}

/** The changes that put the interface of a function up and give it addresses, none for what it has. @throws OffloadError INVALID_CONFIG */
export async function planManagementLink(
  site: SetupSite,
  address: string,
  cidrs: readonly string[],
): Promise<(LinkUpChange | AddressChange)[]> {
  const wanted = cidrs.map(checkedCidr)
  const name = await interfaceNow(site, address)
  const link = name === undefined ? undefined : await site.net.link(site.netns, name)
  const present = link === undefined ? [] : await site.net.addresses(site.netns, link.name, { linkLocal: true })
  const missing = wanted.filter((cidr) => !present.includes(cidr))
  const up: LinkUpChange[] = link?.up === true ? [] : [{ kind: 'link-up', function: address }]
  return [...up, ...missing.map((cidr): AddressChange => ({ kind: 'address', function: address, address: cidr }))]
}

function checkedCidr(text: string): string {
  try {
    if (!/\/\d+$/.test(text)) throw new Error('a prefix length is missing')
    return normalizeCidr(text)
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `address of the management link = ${JSON.stringify(text)}: no address with prefix length`, {
      cause: error,
      hint: 'For example 192.168.1.1/24 or fe80::1/64.',
    })
  }
}

async function interfaceOf(site: SetupSite, address: string): Promise<string> {
  const patience = { clock: site.clock, signal: site.signal, everyMs: LOOK_EVERY_MS, withinMs: INTERFACE_WITHIN_MS }
  const name = await pollUntil(() => interfaceNow(site, address), patience, `the interface of ${address}`)
  if (name !== undefined) return name
  throw new OffloadError('NOT_READY', `${address}: the function has no network interface here after ${INTERFACE_WITHIN_MS} ms`, {
    hint: 'Its driver makes one when the firmware or the control plane of the card is ready; or the interface lies in another namespace.',
  })
}

/** Putting an interface up. */
export const linkUpKind: ChangeKind<LinkUpChange> = {
  edits: ({ function: address }) => [{ target: `interface of ${address}`, before: 'down', after: 'up' }],
  undoEdits: ({ function: address }) => [{ target: `interface of ${address}`, before: 'up', after: 'down' }],
  async apply({ function: address }, site) {
    const dev = await interfaceOf(site, address)
    await site.net.apply(site.netns, [
      { op: 'link.set', dev, up: true },
      { op: 'link.expect', dev, up: true },
    ])
  },
  async undo({ function: address }, site) {
    const dev = await interfaceNow(site, address)
    const link = dev === undefined ? undefined : await site.net.link(site.netns, dev)
    if (link?.up !== true) return 'nothing'
    await site.net.apply(site.netns, [{ op: 'link.set', dev: link.name, up: false }])
    return 'undone'
  },
}

/** Giving an interface an address. */
export const addressKind: ChangeKind<AddressChange> = {
  edits: ({ function: address, address: cidr }) => [{ target: `addresses of the interface of ${address}`, before: 'without', after: cidr }],
  undoEdits: ({ function: address, address: cidr }) => [
    { target: `addresses of the interface of ${address}`, before: cidr, after: 'without' },
  ],
  async apply({ function: address, address: cidr }, site) {
    const dev = await interfaceOf(site, address)
    if ((await site.net.addresses(site.netns, dev, { linkLocal: true })).includes(cidr)) return
    await site.net.apply(site.netns, [{ op: 'addr.add', dev, address: cidr }])
  },
  async undo({ function: address, address: cidr }, site) {
    const dev = await interfaceNow(site, address)
    const present = dev === undefined ? [] : await site.net.addresses(site.netns, dev, { linkLocal: true })
    if (dev === undefined || !present.includes(cidr)) return 'nothing'
    await site.net.apply(site.netns, [{ op: 'addr.del', dev, address: cidr }])
    return 'undone'
  },
}
