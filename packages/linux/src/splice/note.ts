import { createHash } from 'node:crypto'
import { type AttachmentKey, attachmentKeySchema, formatAttachmentKey } from '@cni-offload/sdk'

const PREFIX = 'cni-offload attachment='
const HASHED = 'cni-offload attachment-sha256='

/** The kernel keeps 255 bytes of an alias. */
const LONGEST = 255

/**
 * The note on an interface that says whose it is; a key that is too long for an alias is represented by its hash.
 *
 * @param room - bytes that it may have, 255 by default; a hash may need more
 */
export function attachmentNote(key: AttachmentKey, room: number = LONGEST): string {
  const plain = `${PREFIX}${formatAttachmentKey(key)}`
  return Buffer.byteLength(plain) <= room ? plain : hashed(key)
}

/**
 * Whose interface it is, by its note.
 *
 * @param candidates - keys that a hash may stand for
 */
export function notedAttachment(alias: string, candidates: readonly AttachmentKey[]): AttachmentKey | undefined {
  if (alias.startsWith(HASHED)) return candidates.find((key) => hashed(key) === alias)
  if (!alias.startsWith(PREFIX)) return undefined
  const [network, containerId, ifName] = alias.slice(PREFIX.length).split('/')
  const parsed = attachmentKeySchema.safeParse({ network, containerId, ifName })
  return parsed.success ? parsed.data : undefined
}

/** Whether an alias is a note of ours. */
export function isAttachmentNote(alias: string): boolean {
  return alias.startsWith(PREFIX) || alias.startsWith(HASHED)
}

function hashed(key: AttachmentKey): string {
  return `${HASHED}${createHash('sha256').update(formatAttachmentKey(key)).digest('hex')}`
}
