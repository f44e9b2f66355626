/**
 * A CNI plugin for lists of the matrix: runs `ip` in the pod's namespace and in its own, as the agents of CNIs do that
 * report little of it. A command that begins with `?` may fail. With `ipam` it takes an address of each family from that plugin and reports it without its prefix.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

interface Ip {
  readonly address: string
  readonly interface?: number
}
interface Result {
  readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[]
  readonly ips?: readonly Ip[]
}
interface Conf {
  readonly cniVersion: string
  readonly prevResult?: Result
  readonly ipam?: { readonly type: string }
  readonly pod?: readonly string[]
  readonly dpu?: readonly string[]
}

const env = process.env as Readonly<Record<string, string>>
const input = readFileSync(0)
const conf = JSON.parse(input.toString()) as Conf
const verb = env['CNI_COMMAND']

const ip = (argv: readonly string[], commands: readonly string[], known: readonly Ip[]): void => {
  const addressOf = (six: boolean): string =>
    known.map(({ address }) => address.split('/')[0] ?? '').find((one) => one.includes(':') === six) ?? ''
  for (const command of commands) {
    const words = command
      .replaceAll('$4', addressOf(false))
      .replaceAll('$6', addressOf(true))
      .replaceAll('$IF', env['CNI_IFNAME'] ?? '')
    const mayFail = words.startsWith('? ')
    const [file = '', ...args] = [...argv, 'ip', ...words.replace('? ', '').split(' ')]
    try {
      execFileSync(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    } catch (error) {
      if (!mayFail) throw error
    }
  }
}

const ipam = (): Result => {
  const output = conf.ipam === undefined ? '' : execFileSync(`/usr/lib/cni/${conf.ipam.type}`, { input, env })
  return output.toString() === '' ? {} : (JSON.parse(output.toString()) as Result)
}

if (verb === 'VERSION') process.stdout.write(JSON.stringify({ cniVersion: '1.0.0', supportedVersions: ['0.4.0', '1.0.0'] }))
if (verb === 'ADD') {
  const previous = conf.prevResult ?? {}
  const index = previous.interfaces?.findIndex(({ name, sandbox }) => name === env['CNI_IFNAME'] && sandbox !== undefined)
  const ips = (ipam().ips ?? []).map(({ address }) => ({
    address: `${address.split('/')[0]}/${address.includes(':') ? 128 : 32}`,
    ...(index === undefined ? {} : { interface: index }),
  }))
  ip(['nsenter', `--net=${env['CNI_NETNS']}`], conf.pod ?? [], ips)
  ip([], conf.dpu ?? [], ips)
  process.stdout.write(JSON.stringify({ ...previous, cniVersion: conf.cniVersion, ips: [...(previous.ips ?? []), ...ips] }))
}
if (verb === 'DEL') {
  ipam()
  const undo = (conf.dpu ?? []).filter((command) => command.includes('route replace')).map((command) => command.replace('replace', 'del'))
  if (conf.prevResult !== undefined) ip([], undo, conf.prevResult.ips ?? [])
}
