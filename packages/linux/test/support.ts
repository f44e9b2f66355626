import { execFileSync, spawnSync } from 'node:child_process'
import { createLinuxNet, type LinuxNet, type NetnsPath, type NetOp } from '../src/index.ts'

/** Tests in real namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN. */
export const unprivileged: boolean = process.getuid?.() !== 0

let made = 0

/** A name that no other test process uses. */
export const uniqueName = (): string => `lnx${process.pid}x${made++}`

/** A LinuxNet whose namespaces vanish with it. */
export class TestNet implements AsyncDisposable {
  readonly net: LinuxNet
  readonly #names: string[] = []

  constructor(net: LinuxNet = createLinuxNet()) {
    this.net = net
  }

  async netns(): Promise<NetnsPath> {
    const name = uniqueName()
    this.#names.push(name)
    return this.net.createNetns(name)
  }

  apply(netns: NetnsPath, ...ops: NetOp[]): Promise<void> {
    return this.net.apply(netns, ops)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#names.map((name) => this.net.deleteNetns(name)))
    await this.net[Symbol.asyncDispose]()
  }
}

const nameOf = (netns: NetnsPath): string => netns.replace('/run/netns/', '')

/** What `ip -j` says, as an independent witness. */
export const ipJson = (netns: NetnsPath, ...args: string[]): Record<string, unknown>[] =>
  JSON.parse(execFileSync('ip', ['-n', nameOf(netns), '-j', '-d', ...args], { encoding: 'utf8' }) || '[]') as Record<string, unknown>[]

/** Runs a command in a namespace; the exit code and what it printed. */
export const run = (netns: NetnsPath, command: string, ...args: string[]): { status: number | null; output: string } => {
  const { status, stdout, stderr } = spawnSync('nsenter', [`--net=${netns}`, command, ...args], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

/** Whether an address answers a ping from a namespace. */
export const pings = (netns: NetnsPath, address: string): boolean =>
  run(netns, 'ping', '-c', '2', '-i', '0.2', '-w', '5', address).status === 0
