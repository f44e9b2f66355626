import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { NetnsPath } from '@cni-offload/linux'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { exec, inNetns } from './exec.ts'

/** What a transfer gave. */
export interface TcpResult {
  /** Bytes that the server counted. */
  readonly bytes: number
  /** Milliseconds from connecting to the server's answer. */
  readonly ms: number
}

const PEER = fileURLToPath(new URL(`./tcp-peer.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
const listening = z.object({ port: z.number() })
const transferred = z.object({ bytes: z.number(), ms: z.number() })

/**
 * Sends `bytes` over one TCP connection from a process in one namespace to a process in another and counts them there.
 *
 * @param address - of the server, in its namespace
 * @throws OffloadError IO_FAILURE if the connection failed; DEADLINE_EXCEEDED if it took longer than `timeoutMs` (20 000 by default)
 */
export async function tcpTransfer(
  server: NetnsPath,
  client: NetnsPath,
  address: string,
  bytes: number,
  timeoutMs: number = 20_000,
): Promise<TcpResult> {
  const signal = AbortSignal.timeout(timeoutMs)
  const [file, ...args] = inNetns(server, [process.execPath, PEER, 'server', address])
  const listener = spawn(file ?? '', args, { stdio: ['ignore', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' })
  const ended = once(listener, 'close').catch(() => {})
  let complaint = ''
  listener.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString()
  })
  try {
    const first: unknown = await Promise.race([
      once(listener.stdout, 'data').then(([chunk]: unknown[]) => String(chunk)),
      ended.then(() => undefined),
    ])
    if (typeof first !== 'string')
      throw new OffloadError('IO_FAILURE', `no server could listen on ${address} in ${server}: ${complaint.trim()}`)
    const { port } = parseWith(listening, JSON.parse(first), 'server', 'IO_FAILURE')
    const { code, stdout, stderr } = await exec(inNetns(client, [process.execPath, PEER, 'client', address, String(port), String(bytes)]), {
      signal,
      timeoutMs,
    })
    if (code !== 0) throw new OffloadError('IO_FAILURE', `client in ${client} failed: ${stderr.trim()}`)
    return parseWith(transferred, JSON.parse(stdout), 'client', 'IO_FAILURE')
  } finally {
    listener.kill('SIGKILL')
    await ended
  }
}
