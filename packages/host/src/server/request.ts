import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

/** A CNI call as the shim forwards it. */
export interface CniRequest {
  /** Version of the frame's content. */
  readonly v: 1
  /** Tells requests apart. */
  readonly kind: 'cni'
  /** The shim's CNI_* variables. */
  readonly env: Readonly<Record<string, string>>
  /** The shim's standard input as read. */
  readonly stdin: string
  /** How long the shim waits for the answer, in milliseconds. */
  readonly deadlineMs: number
  /** Present when the call was sent before and its connection ended without an answer: how long ago the call began, milliseconds. */
  readonly sinceMs?: number
}

/** Asks for the daemon's state. */
export interface InspectRequest {
  /** Version of the frame's content. */
  readonly v: 1
  /** Tells requests apart. */
  readonly kind: 'inspect'
  /** Whether the agent's side is wanted, too, which takes a call to it. */
  readonly dpu?: boolean
}

/** What a caller may ask for. */
export type HostRequest = CniRequest | InspectRequest

const request: z.ZodType<HostRequest> = z.discriminatedUnion('kind', [
  z.object({
    v: z.literal(1),
    kind: z.literal('cni'),
    env: z.record(z.string(), z.string()),
    stdin: z.string(),
    deadlineMs: z.number().int().min(1).max(86_400_000),
    sinceMs: z.number().int().min(0).max(86_400_000).exactOptional(),
  }),
  z.object({ v: z.literal(1), kind: z.literal('inspect'), dpu: z.boolean().exactOptional() }),
])

const versioned = z.object({ v: z.number().int() })

const strictUtf8 = new TextDecoder('utf-8', { fatal: true })

const VERSION = 1

/**
 * Parses the content of a frame.
 *
 * @throws OffloadError UNDECODABLE saying what is wrong; INCOMPATIBLE_PEER saying what to upgrade where the caller is of another release
 */
export function parseRequest(content: Buffer): HostRequest {
  let decoded: unknown
  try {
    decoded = JSON.parse(strictUtf8.decode(content))
  } catch (error) {
    throw new OffloadError('UNDECODABLE', `request is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  }
  const version = versioned.safeParse(decoded)
  if (version.success && version.data.v !== VERSION)
    throw new OffloadError(
      'INCOMPATIBLE_PEER',
      `request: v = ${version.data.v}, this host daemon takes ${VERSION}: its caller is of another release`,
      { hint: `Upgrade the ${version.data.v > VERSION ? 'host daemon' : 'CNI executable and the command line tool'}.` },
    )
  return parseWith(request, decoded, 'request', 'UNDECODABLE')
}
