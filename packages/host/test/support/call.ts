import { once } from 'node:events'
import { connect } from 'node:net'

/** What the daemon answered. */
export interface Answer {
  readonly exitCode: number
  readonly output: string
}

export function frame(content: unknown): Buffer {
  const body = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

/** One request over the daemon's real socket, as the shim does it. Aborting it closes the connection. */
export async function request(socket: string, content: unknown, signal?: AbortSignal): Promise<Answer> {
  const connection = connect(socket)
  const gone = (): void => void connection.destroy()
  signal?.addEventListener('abort', gone, { once: true })
  await once(connection, 'connect')
  connection.write(frame(content))
  const chunks: Buffer[] = []
  for await (const chunk of connection) chunks.push(chunk as Buffer)
  const reply = Buffer.concat(chunks)
  if (reply.length < 5 || reply.readUInt32BE(0) !== reply.length - 4) throw new Error(`bad reply of ${reply.length} bytes`)
  return { exitCode: reply.readUInt8(4), output: reply.subarray(5).toString() }
}

export function cniFrame(env: Record<string, string>, netconf: unknown, deadlineMs = 20_000): object {
  return { v: 1, kind: 'cni', env, stdin: typeof netconf === 'string' ? netconf : JSON.stringify(netconf), deadlineMs }
}
