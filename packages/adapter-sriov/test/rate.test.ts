import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Lab, NEEDS_ROOT, PATIENCE, unprivileged } from './lab.ts'

const SECONDS = 5
/** As many datagrams as the kernel takes, so that there is always more to send than may be sent. */
const FLOOD = `
  const socket = require('node:dgram').createSocket('udp4')
  const datagram = Buffer.alloc(1400)
  const send = () => socket.send(datagram, 9, process.argv[1], () => setImmediate(send))
  socket.on('error', () => {})
  for (let way = 0; way < 8; way += 1) send()
  console.log('sending')
`

describe.skipIf(unprivileged)(`the largest rate ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  const flood = async (netns: string, address: string): Promise<AsyncDisposable> => {
    const child = spawn('nsenter', [`--net=${netns}`, process.execPath, '-e', FLOOD, address], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    return {
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await once(child, 'exit')
      },
    }
  }

  test.each([20, 80])(`of %d Mbit/s is kept within a tenth over ${SECONDS} s`, async (mbit) => {
    await using lab = await Lab.create(2)
    await lab.connect(0, { max_tx_rate: mbit })
    await lab.connect(1)
    const [from, to] = [lab.at(0).pod.path, lab.at(1).pod.path]
    await using _sender = await flood(from, '10.9.0.2')
    const received = async (): Promise<{ bytes: number; at: number }> => {
      const bytes = Number((await lab.net.link(to, 'eth0'))?.stats.rxBytes)
      return { bytes, at: performance.now() }
    }
    // The bridge takes a moment until it forwards.
    const first = await received()
    while ((await received()).bytes - first.bytes < 100_000) await pause(10)
    const before = await received()
    await pause(SECONDS * 1_000)
    const after = await received()
    const rate = ((after.bytes - before.bytes) * 8) / ((after.at - before.at) * 1_000)
    expect(rate / mbit).toBeGreaterThan(0.9)
    expect(rate / mbit).toBeLessThan(1.1)
  })
})
