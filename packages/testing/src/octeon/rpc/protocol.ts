import { parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

/** What is called: a machine, the card, or what the control agent does to it. */
export type RpcTarget = 'host' | 'dpu' | 'card' | 'agent'

/** A call; without `method` it takes back one that is under way. */
export interface RpcRequest {
  readonly id: number
  readonly target: RpcTarget
  readonly method: string
  readonly args: readonly unknown[]
}

/** Takes a call back. */
export interface RpcAbort {
  readonly abort: number
}

/** An error as it crosses the socket: what callers look at. */
export interface RpcError {
  readonly message: string
  readonly code?: string
  readonly errno?: number
  readonly syscall?: string
  readonly path?: string
}

/** How a call ended. */
export type RpcReply = { readonly id: number; readonly result?: unknown } | { readonly id: number; readonly error: RpcError }

/** What the card tells without being asked. */
export interface RpcEvent {
  readonly event: 'perst'
  /** Whether the link can be set up again. */
  readonly comesBack: boolean
}

const request: z.ZodType<RpcRequest> = z.object({
  id: z.int(),
  target: z.enum(['host', 'dpu', 'card', 'agent']),
  method: z.string(),
  args: z.array(z.unknown()),
})

const error: z.ZodType<RpcError> = z.object({
  message: z.string(),
  code: z.string().exactOptional(),
  errno: z.number().exactOptional(),
  syscall: z.string().exactOptional(),
  path: z.string().exactOptional(),
})

const reply: z.ZodType<RpcReply> = z.union([z.object({ id: z.int(), error }), z.object({ id: z.int(), result: z.unknown().optional() })])

/** What a server is sent. @throws OffloadError UNDECODABLE */
export function parseCall(line: string): RpcRequest | RpcAbort {
  return parseWith(z.union([request, z.object({ abort: z.int() })]), JSON.parse(line), 'call of a fake card', 'UNDECODABLE')
}

/** What a client is sent. @throws OffloadError UNDECODABLE */
export function parseAnswer(line: string): RpcReply | RpcEvent {
  const answer: z.ZodType<RpcReply | RpcEvent> = z.union([z.object({ event: z.literal('perst'), comesBack: z.boolean() }), reply])
  return parseWith(answer, JSON.parse(line), 'answer of a fake card', 'UNDECODABLE')
}

/** Makes an error fit for the socket. */
export function encodeError(thrown: unknown): RpcError {
  if (!(thrown instanceof Error)) return { message: String(thrown) }
  const { code, errno, syscall, path } = thrown as NodeJS.ErrnoException
  const known = { code, errno, syscall, path }
  return { message: thrown.message, ...Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined)) }
}

/** The error that somebody else has thrown. */
export function decodeError({ message, ...fields }: RpcError): Error {
  return Object.assign(new Error(message), fields)
}
