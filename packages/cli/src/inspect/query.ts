import { type AttachmentKey, attachmentKeySchema, formatAttachmentKey, OffloadError } from '@cni-offload/sdk'
import type { PodView } from './view.ts'

/** Something of a node that may be what was asked for. */
export interface Candidate {
  /** Attachment. */
  readonly key: Pick<AttachmentKey, 'containerId'> & Partial<AttachmentKey>
  /** Its pod, where that is known. */
  readonly pod?: PodView
}

/** What a person asks for. */
export interface Query {
  /** As it was given. */
  readonly text: string
  /** Whether something is meant. */
  matches(candidate: Candidate): boolean
}

/** What all of pods, containers, networks and interfaces may be called. */
const NAME = /^[a-zA-Z0-9_][^/\s]*$/

/** Shortest begin of a container id that is taken for one. */
const SHORTEST_ID = 4

/**
 * `namespace/pod`, a container id or the begin of one, or an attachment key `network/container/interface`.
 *
 * @throws OffloadError INVALID_CONFIG saying what is expected
 */
export function parseQuery(text: string): Query {
  const parts = text.split('/')
  const [first = '', second = '', third = ''] = parts
  if (parts.length > 3 || !parts.every((part) => NAME.test(part))) throw notUnderstood(text)
  if (parts.length === 2) return { text, matches: ({ pod }) => pod?.namespace === first && pod.name === second }
  if (parts.length === 1) {
    if (text.length < SHORTEST_ID) throw notUnderstood(text)
    return { text, matches: ({ key }) => key.containerId.startsWith(text) }
  }
  const key = attachmentKeySchema.safeParse({ network: first, containerId: second, ifName: third })
  if (!key.success) throw notUnderstood(text)
  const wanted = formatAttachmentKey(key.data)
  return {
    text,
    matches: ({ key: { network, containerId, ifName } }) =>
      containerId === second && (network === undefined || ifName === undefined || `${network}/${containerId}/${ifName}` === wanted),
  }
}

function notUnderstood(text: string): OffloadError {
  return new OffloadError('INVALID_CONFIG', `${JSON.stringify(text)} is neither a pod, nor a container, nor an attachment`, {
    hint: `Give namespace/pod, a container id or its first ${SHORTEST_ID} or more characters, or network/container/interface.`,
  })
}
