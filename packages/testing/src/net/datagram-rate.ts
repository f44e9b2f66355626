import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { inNetns } from './exec.ts'

/** As many datagrams as the kernel takes, so that there is always more to send than may be sent. */
const FLOOD = `
  const socket = require('node:dgram').createSocket(process.argv[1].includes(':') ? 'udp6' : 'udp4')
  const datagram = Buffer.alloc(1400)
  const send = () => socket.send(datagram, 9, process.argv[1], () => setImmediate(send))
  socket.on('error', () => {})
  for (let way = 0; way < 8; way += 1) send()
  console.log('sending')
`
/** What has arrived before it is measured: the way is open then, and what may come at once has come. */
const ESTABLISHED_BYTES = 100_000
const LOOK_MS = 10

/** Who sends to whom. */
export interface DatagramPath {
  /** Namespace of the sender. */
  readonly from: NetnsPath
  /** Namespace of the receiver. */
  readonly to: NetnsPath
  /** Address of the receiver. */
  readonly address: string
  /** Interface of the receiver. @defaultValue 'eth0' */
  readonly ifName?: string
}

/**
 * Sends more datagrams than any limit lets through, and counts what arrives.
 *
 * @param ms - how long it is measured, once datagrams arrive
 * @param timeoutMs - how long the first ones may take
 * @returns Mbit/s at the receiver's interface, headers included
 * @throws OffloadError DEADLINE_EXCEEDED if nothing arrives
 */
export async function datagramRate(
  net: Pick<LinuxNet, 'link'>,
  { from, to, address, ifName = 'eth0' }: DatagramPath,
  ms: number,
  timeoutMs: number = 30_000,
): Promise<number> {
  const [file = '', ...args] = inNetns(from, [process.execPath, '-e', FLOOD, address])
  const sender = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(sender, 'exit')
  const received = async (): Promise<{ bytes: number; at: number }> => ({
    bytes: Number((await net.link(to, ifName))?.stats.rxBytes ?? 0),
    at: performance.now(),
  })
  try {
    const first = await received()
    let before = first
    while (before.bytes - first.bytes < ESTABLISHED_BYTES) {
      if (before.at - first.at > timeoutMs)
        throw new OffloadError('DEADLINE_EXCEEDED', `no datagrams from ${from} have come to ${address} within ${timeoutMs} ms`)
      await pause(LOOK_MS)
      before = await received()
    }
    await pause(ms)
    const after = await received()
    return ((after.bytes - before.bytes) * 8) / ((after.at - before.at) * 1_000)
  } finally {
    sender.kill('SIGKILL')
    await ended
  }
}
