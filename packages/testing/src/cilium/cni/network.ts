import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

/** A command of iproute2 that failed. */
export class IpFailure extends Error {
  override readonly name = 'IpFailure'

  /** Whether there is no such interface, or no such namespace. */
  get absent(): boolean {
    return /Cannot find device|does not exist|No such file or directory/.test(this.message)
  }
}

/** What is done in a namespace, sysctls first. */
export interface PodChange {
  /** Values by dotted name. */
  readonly sysctls?: Readonly<Record<string, string>>
  /** Commands of iproute2, without `ip`. */
  readonly ip?: readonly string[]
}

const BATCH = 'exec ip -o -batch -'
const SYSCTLS = `while [ $# -gt 0 ]; do echo "$2" >"$1" || exit; shift 2; done; ${BATCH}`

/** Runtimes need not name where iproute2 is. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

// By iproute2: a plugin lives for one call, and to load a library that speaks netlink takes longer than all that it does. And what is
// tested does not test itself.

/** Whether the plugin's own namespace has an interface. */
export function hasLink(dev: string): boolean {
  return new RegExp(`^ *${dev}:`, 'm').test(readFileSync('/proc/net/dev', 'utf8'))
}

/** Commands of iproute2 in the plugin's own namespace. @returns what they print @throws IpFailure */
export function ip(...commands: readonly string[]): string {
  return run(['sh', '-c', BATCH], commands)
}

/** Sets a kernel variable of the plugin's own namespace. */
export function sysctl(key: string, value: string): void {
  writeFileSync(sysctlPath(key), value)
}

/** Changes something in a pod. @returns what the commands print @throws IpFailure */
export function inPod(netns: string, { sysctls = {}, ip: commands = [] }: PodChange): string {
  const values = Object.entries(sysctls).flatMap(([key, value]) => [sysctlPath(key), value])
  return run(['nsenter', `--net=${netns}`, '--', 'sh', '-c', SYSCTLS, 'sh', ...values], commands)
}

/** As {@link inPod}; undefined if there is no such interface or namespace. */
export function inPodIfThere(netns: string, ...commands: readonly string[]): string | undefined {
  try {
    return inPod(netns, { ip: commands })
  } catch (error) {
    if (error instanceof IpFailure && error.absent) return undefined
    throw error
  }
}

const sysctlPath = (key: string): string => `/proc/sys/${key.replaceAll('.', '/')}`

function run([file = '', ...args]: readonly string[], commands: readonly string[]): string {
  const input = commands.map((command) => `${command}\n`).join('')
  const { status, stdout, stderr, error } = spawnSync(file, args, { input, encoding: 'utf8', env: { PATH } })
  if (status === 0) return stdout
  // Whoever ends before it has read its input leaves an EPIPE, too.
  throw new IpFailure(`${commands.join('; ')}: ${stderr?.trim() || error?.message || `status ${status}`}`)
}
