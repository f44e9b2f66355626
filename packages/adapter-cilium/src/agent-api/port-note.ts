import { attachmentNote, notedAttachment } from '@cni-offload/linux/splice'
import { type AttachmentKey, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'

/** What is noted on a port that is the device of an endpoint. */
export interface PortNote {
  /** Alias of the port before: whoever made the port may know it by that. */
  readonly alias: string
  /** MTU of the port before, bytes. */
  readonly mtu: number
  /** MAC of the port, which the pod knows its gateway by. */
  readonly mac: string
  /** Whose the port is, as {@link attachmentNote} says it. */
  readonly attachment: string
}

const NOTE = /^(?<alias>.*?) ?\[mac=(?<mac>\S+) mtu=(?<mtu>\d+) (?<attachment>cni-offload \S+)\]$/

/** The kernel keeps 255 bytes of an alias. */
const LONGEST = 255

/**
 * The alias of a port while an attachment has it. All of it is in one text, so that the kernel has either all of it or nothing, and it
 * goes with the port.
 *
 * @throws OffloadError INVALID_CONFIG when the port's own alias leaves no room
 */
export function formatPortNote(port: string, key: AttachmentKey, { alias, mtu, mac }: Omit<PortNote, 'attachment'>): string {
  const before = `${alias === '' ? '' : `${alias} `}[mac=${mac} mtu=${mtu} `
  const note = `${before}${attachmentNote(key, LONGEST - Buffer.byteLength(before) - 1)}]`
  if (Buffer.byteLength(note) <= LONGEST) return note
  throw new OffloadError('INVALID_CONFIG', `the alias of port ${port} has ${Buffer.byteLength(alias)} bytes: no room for a note is left`, {
    hint: 'Use the option "device: veth", or give the port a shorter alias ("ip link set … alias …").',
  })
}

/** Reads a port's alias; undefined if no attachment has the port. */
export function parsePortNote(text: string): PortNote | undefined {
  const { alias, mac, mtu, attachment } = NOTE.exec(text)?.groups ?? {}
  if (alias === undefined || mac === undefined || mtu === undefined || attachment === undefined) return undefined
  return { alias, mac, mtu: Number(mtu), attachment }
}

/** Whether a note is of an attachment. */
export function isNoteOf({ attachment }: PortNote, key: AttachmentKey): boolean {
  const noted = notedAttachment(attachment, [key])
  return noted !== undefined && formatAttachmentKey(noted) === formatAttachmentKey(key)
}
