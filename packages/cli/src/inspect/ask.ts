import { connect } from 'node:net'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { type NodeView, nodeView } from './view.ts'

const TIMEOUT_MS = 10_000

/** An error as CNI has it. */
const refusal = z.object({ msg: z.string(), details: z.string().default('') })

/** Asks a host daemon over its socket. @returns JSON as it came @throws OffloadError NOT_READY, DEADLINE_EXCEEDED, UNDECODABLE */
export async function askSocket(socket: string, request: Readonly<Record<string, unknown>>): Promise<unknown> {
  const content = Buffer.from(JSON.stringify({ v: 1, ...request }))
  const frame = Buffer.alloc(4 + content.length)
  frame.writeUInt32BE(content.length)
  content.copy(frame, 4)
  const chunks: Buffer[] = []
  const connection = connect(socket)
  connection.setTimeout(TIMEOUT_MS, () =>
    connection.destroy(new OffloadError('DEADLINE_EXCEEDED', `the host daemon behind ${socket} does not answer`)),
  )
  try {
    connection.write(frame)
    for await (const chunk of connection) chunks.push(chunk as Buffer)
  } catch (error) {
    if (OffloadError.is(error)) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new OffloadError('NOT_READY', `no host daemon answers at ${socket}: ${why}`, {
      cause: error,
      hint: 'Is it running? Name its configuration with --config, or its socket with --socket, and ask as root.',
    })
  }
  const reply = Buffer.concat(chunks)
  // Length, exit status, output.
  const answer = decoded(reply.subarray(5).toString(), socket)
  if (reply[4] === 0) return answer
  const { msg, details } = parseWith(refusal, answer, `answer of ${socket}`, 'UNDECODABLE')
  throw new OffloadError('NOT_READY', `the host daemon behind ${socket} refuses: ${msg}`, details === '' ? {} : { hint: details })
}

/** Asks a host daemon, and by it the agent, for all that they have. */
export async function askNode(socket: string): Promise<NodeView> {
  return parseWith(nodeView, await askSocket(socket, { kind: 'inspect', dpu: true }), `answer of ${socket}`, 'UNDECODABLE')
}

function decoded(text: string, socket: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new OffloadError('UNDECODABLE', `answer of ${socket} is not JSON`, { cause: error })
  }
}
