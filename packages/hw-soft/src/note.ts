import type { Link } from '@cni-offload/linux'
import { formatVfId } from '@cni-offload/sdk'
import type { EndSpec } from './card.ts'

const NOTE = /^cni-offload (vf|port)=([a-z0-9]+)\/(\d+) name=(\S+) mac=(\S+) mtu=(\d+)(?: \[.*\])?$/

/**
 * The note on a link, its `ifalias`. It survives renames and moves between namespaces, so that whoever finds the link,
 * even after a crash, knows what it is and how it was.
 */
export function formatNote(spec: EndSpec): string {
  return `cni-offload ${spec.end}=${formatVfId(spec.vf)} name=${spec.name} mac=${spec.mac} mtu=${spec.mtu}`
}

/** Reads a note back; undefined for anything else. What an adapter notes behind it, in brackets, is not the card's. */
export function parseNote(alias: string): EndSpec | undefined {
  const match = NOTE.exec(alias)
  if (match === null) return undefined
  const [, end, device, index, name, mac, mtu] = match
  if (end === undefined || device === undefined || name === undefined || mac === undefined) return undefined
  return { end: end === 'vf' ? 'vf' : 'port', vf: { device, index: Number(index) }, name, mac, mtu: Number(mtu) }
}

/** What tells an end from all others, also from those of other nodes: its pristine MAC is in it. */
export function endKey(spec: Pick<EndSpec, 'end' | 'vf' | 'mac'>): string {
  return `${spec.end} ${formatVfId(spec.vf)} ${spec.mac}`
}

/** The {@link endKey} that a link's note gives it; undefined if it is no end of a software card. */
export function linkKey(link: Link): string | undefined {
  const note = parseNote(link.alias)
  return note === undefined ? undefined : endKey(note)
}

/** Whether a link is that end of that very card. */
export function isEnd(link: Link, spec: EndSpec): boolean {
  return linkKey(link) === endKey(spec)
}

/** Whether a link is an end that was made by somebody who was killed before it had its note: all of it that can be known without. */
export function isUnfinished(link: Link, spec: Pick<EndSpec, 'name' | 'mac'>): boolean {
  return link.kind === 'veth' && link.alias === '' && link.name === spec.name && link.mac === spec.mac
}
