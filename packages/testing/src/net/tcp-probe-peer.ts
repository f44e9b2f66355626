/**
 * Both ends of a probe, run as processes inside network namespaces:
 * `answer PORT…` answers every connection on all addresses, prints a line when it listens on all ports, and goes on;
 * `ask WAIT_MS (ADDRESS PORT)…` asks all at the same time and prints what came of each, as JSON.
 */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const [role, ...args] = process.argv.slice(2)

if (role === 'answer') {
  const servers = args.map((port) =>
    createServer((socket) => {
      // Whoever asks may be gone before it is answered.
      socket.on('error', () => {})
      socket.end('answer')
    }).listen(Number(port), '::'),
  )
  await Promise.all(servers.map((server) => once(server, 'listening')))
  process.stdout.write('listening\n')
} else {
  const [waitMs, ...targets] = args
  const ask = (host: string, port: number): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ host, port })
      const settle = (outcome: string): void => {
        socket.destroy()
        resolve(outcome)
      }
      socket.setTimeout(Number(waitMs), () => settle('silent'))
      socket.once('data', () => settle('answered'))
      socket.once('error', () => settle('refused'))
      socket.once('close', () => settle('refused'))
    })
  const pairs = targets.flatMap((address, at) => (at % 2 === 0 ? [{ address, port: Number(targets[at + 1]) }] : []))
  process.stdout.write(JSON.stringify(await Promise.all(pairs.map(({ address, port }) => ask(address, port)))))
}
