import { once } from 'node:events'
import { createServer } from 'node:net'

/** Answers every request over a socket as a host daemon does, with what `answer` gives. */
export async function serveHostDaemon(socket: string, answer: () => unknown): Promise<AsyncDisposable> {
  const server = createServer((connection) => {
    connection.once('data', () => {
      const output = Buffer.from(JSON.stringify(answer()))
      const head = Buffer.alloc(5)
      head.writeUInt32BE(output.length + 1)
      connection.end(Buffer.concat([head, output]))
    })
  }).listen(socket)
  await once(server, 'listening')
  return { [Symbol.asyncDispose]: async () => await new Promise((closed) => server.close(() => closed())) }
}
