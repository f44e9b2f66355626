import type { NetnsPath } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { exec, inNetns } from './exec.ts'

/** How to ping. */
export interface PingOptions {
  /** Number of requests. @defaultValue 3 */
  readonly count?: number
  /** Bytes of payload after the ICMP header. @defaultValue 56 */
  readonly size?: number
  /** Whether fragmentation is forbidden. @defaultValue false */
  readonly dontFragment?: boolean
  /** Milliseconds to wait for the answer to the last request. @defaultValue 1000 */
  readonly waitMs?: number
  /** Ends it early. */
  readonly signal?: AbortSignal
}

/** What came of it. */
export interface PingResult {
  /** Requests sent. */
  readonly sent: number
  /** Answers received, duplicates not counted. */
  readonly received: number
}

/** Pings an IPv4 or IPv6 address from a namespace, 20 requests per second. @throws OffloadError IO_FAILURE if ping itself fails */
export async function ping(netns: NetnsPath, address: string, options: PingOptions = {}): Promise<PingResult> {
  const count = options.count ?? 3
  const waitMs = options.waitMs ?? 1_000
  const argv = [
    'ping',
    address.includes(':') ? '-6' : '-4',
    '-n',
    '-q',
    '-i',
    '0.05',
    '-c',
    String(count),
    '-W',
    String(waitMs / 1000),
    '-s',
    String(options.size ?? 56),
  ]
  if (options.dontFragment === true) argv.push('-M', 'do')
  const { stdout, stderr } = await exec(inNetns(netns, [...argv, address]), options.signal === undefined ? {} : { signal: options.signal })
  const match = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(stdout)
  // "Network is unreachable" ends ping before it sends anything: nothing was sent, nothing came back.
  if (match === null && /unreachable|message too long/i.test(stderr)) return { sent: 0, received: 0 }
  if (match === null)
    throw new OffloadError(
      'IO_FAILURE',
      `ping ${address} in ${netns} said neither how many were sent nor received: ${stderr.trim() || stdout.trim()}`,
    )
  return { sent: Number(match[1]), received: Number(match[2]) }
}

/**
 * Whether an address answers within `withinSeconds` (3 by default); returns with the first answer. Use it where a bridge or
 * neighbour discovery may need a moment, and {@link ping} where the number of answers matters.
 */
export async function reaches(
  netns: NetnsPath,
  address: string,
  options: { readonly withinSeconds?: number; readonly size?: number; readonly dontFragment?: boolean } = {},
): Promise<boolean> {
  // With a deadline, ping's count is that of answers.
  const argv = [
    'ping',
    address.includes(':') ? '-6' : '-4',
    '-n',
    '-q',
    '-i',
    '0.05',
    '-c',
    '1',
    '-w',
    String(options.withinSeconds ?? 3),
    '-s',
    String(options.size ?? 56),
  ]
  if (options.dontFragment === true) argv.push('-M', 'do')
  return (await exec(inNetns(netns, [...argv, address]))).code === 0
}
