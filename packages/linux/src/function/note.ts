import { formatVfId } from '@cni-offload/sdk'
import type { Link } from '../net/model.ts'
import type { FunctionEnd } from './end.ts'

const NOTE = /^cni-offload (vf|port)=([a-z0-9]+)\/(\d+)(?: pci=(\S+))? name=(\S+) mac=(\S+) mtu=(\d+)(?: \[.*\])?$/

/**
 * The note on a link, its `ifalias`. It survives renames and moves between namespaces, so that whoever finds the link,
 * even after a crash, knows what it is and how it was.
 */
export function formatNote({ vf, end, pciAddress, name, mac, mtu }: FunctionEnd): string {
  return `cni-offload ${end}=${formatVfId(vf)}${pciAddress === undefined ? '' : ` pci=${pciAddress}`} name=${name} mac=${mac} mtu=${mtu}`
}

/** Reads a note back; undefined for anything else. What an adapter notes behind it, in brackets, is not the backend's. */
export function parseNote(alias: string): FunctionEnd | undefined {
  const match = NOTE.exec(alias)
  if (match === null) return undefined
  const [, end, device, index, pciAddress, name, mac, mtu] = match
  if (end === undefined || device === undefined || name === undefined || mac === undefined) return undefined
  return {
    end: end === 'vf' ? 'vf' : 'port',
    vf: { device, index: Number(index) },
    ...(pciAddress === undefined ? {} : { pciAddress }),
    name,
    mac,
    mtu: Number(mtu),
  }
}

/** What tells an end from all others, also from those of other nodes: its pristine MAC is in it. */
export function endKey(spec: Pick<FunctionEnd, 'end' | 'vf' | 'mac'>): string {
  return `${spec.end} ${formatVfId(spec.vf)} ${spec.mac}`
}

/** The {@link endKey} that a link's note gives it; undefined if it has no note. */
export function linkKey(link: Link): string | undefined {
  const note = parseNote(link.alias)
  return note === undefined ? undefined : endKey(note)
}

/** Whether a link is that end: by the PCI device that it is the interface of, as far as the kernel tells, and else by its note. */
export function isEnd(link: Link, spec: FunctionEnd): boolean {
  if (spec.pciAddress !== undefined && link.parent?.bus === 'pci') return link.parent.name === spec.pciAddress
  return linkKey(link) === endKey(spec)
}
