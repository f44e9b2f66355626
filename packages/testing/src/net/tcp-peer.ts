/**
 * One end of a TCP transfer, run as a process inside a network namespace:
 * `server ADDRESS` prints `{"port"}`, takes one connection, counts, answers with the count;
 * `client ADDRESS PORT BYTES` sends, waits for the answer, prints `{"bytes","ms"}`.
 */
import { connect, createServer } from 'node:net'

const [role, address, port, bytes] = process.argv.slice(2)

if (role === 'server') {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    server.close()
    let received = 0
    socket.on('data', (chunk) => {
      received += chunk.length
    })
    socket.on('end', () => socket.end(String(received)))
  })
  server.listen(0, address, () => {
    const bound = server.address()
    process.stdout.write(`${JSON.stringify({ port: typeof bound === 'object' ? bound?.port : bound })}\n`)
  })
} else {
  const total = Number(bytes)
  const block = Buffer.alloc(65_536, 'cni-offload ')
  const socket = connect({ host: address ?? '', port: Number(port), allowHalfOpen: true })
  const start = performance.now()
  let left = total
  const fill = (): void => {
    while (left > 0) {
      const piece = left < block.length ? block.subarray(0, left) : block
      left -= piece.length
      if (!socket.write(piece)) return void socket.once('drain', fill)
    }
    socket.end()
  }
  let answer = ''
  socket.on('connect', fill)
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1')
  })
  socket.on('end', () => {
    process.stdout.write(`${JSON.stringify({ bytes: Number(answer), ms: performance.now() - start })}\n`)
  })
}
